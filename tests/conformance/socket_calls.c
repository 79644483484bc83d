/* Sends open files and credentials by sockets, connects sockets by their names, and prints what the calls return. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
	fflush(stdout);
}

static long send_files(int socket, const char *text, size_t size, const int *files, int count, int flags)
{
	union { struct cmsghdr head; char bytes[CMSG_SPACE(64 * sizeof(int))]; } beside;
	struct iovec part = { (void *)text, size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (count) {
		memset(&beside, 0, sizeof(beside));
		message.msg_control = &beside;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		beside.head.cmsg_level = SOL_SOCKET;
		beside.head.cmsg_type = SCM_RIGHTS;
		beside.head.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&beside.head), files, count * sizeof(int));
	}
	return sendmsg(socket, &message, flags);
}

/* Receive, print all but MSG_CTRUNC, of which qemu knows nothing, and return the first descriptor, or -1. */
static int receive(const char *what, int socket, size_t size, size_t room, int flags)
{
	static char text[100000], beside[1024] __attribute__((aligned(8)));
	struct sockaddr_un name;
	struct iovec parts[2] = { { text, size / 2 }, { text + size / 2, size - size / 2 } };
	struct msghdr message = { &name, sizeof(name), parts, 2, beside, room, 0 };
	struct cmsghdr *each;
	struct stat found;
	int first = -1, number;
	long result;

	memset(text, 0, sizeof(text));
	memset(&name, 0, sizeof(name));
	memset(beside, 0xee, sizeof(beside));
	result = recvmsg(socket, &message, flags);
	say(what, result);
	if (result < 0)
		return -1;
	printf("  text %.20s flags %#x ancillary %d name %d", text, message.msg_flags & ~(MSG_CMSG_CLOEXEC | MSG_CTRUNC),
	       (int)message.msg_controllen, (int)message.msg_namelen);
	if (message.msg_namelen > 2)
		printf(" %.8s", name.sun_path + !name.sun_path[0]);
	printf("\n");
	for (each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
		printf("  level %d type %d length %d", each->cmsg_level, each->cmsg_type, (int)each->cmsg_len);
		if (each->cmsg_type == SCM_RIGHTS) {
			for (size_t at = 0; at + 4 <= each->cmsg_len - CMSG_LEN(0); at += 4) {
				memcpy(&number, CMSG_DATA(each) + at, 4);
				printf(" %s%s", fstat(number, &found) ? "bad" : S_ISREG(found.st_mode) ? "file" :
				       S_ISSOCK(found.st_mode) ? "socket" : "other", fcntl(number, F_GETFD) ? " closed on exec" : "");
				if (first < 0)
					first = number;
				else
					close(number);
			}
		} else if (each->cmsg_len >= CMSG_LEN(sizeof(struct ucred))) {
			struct ucred *sender = (struct ucred *)CMSG_DATA(each);

			printf(" %s %d %d", sender->pid == getpid() ? "me" : sender->pid ? "other" : "nobody",
			       sender->uid == getuid(), sender->gid == getgid());
		}
		printf("\n");
	}
	fflush(stdout);
	return first;
}

static void files_of_kind(int kind)
{
	int ends[2], file = open("passed", O_RDWR | O_CREAT | O_TRUNC, 0600), got, pair[2], many[3], wrong = 99, status, sent;
	char text[16] = "";

	printf("kind %d\n", kind);
	say("pair", socketpair(AF_UNIX, kind, 0, ends));
	say("in the file", write(file, "0123456789", 10));
	lseek(file, 2, SEEK_SET);
	say("send", send_files(ends[0], "hello", 5, &file, 1, 0));
	close(receive("peek", ends[1], 3, 100, MSG_PEEK));
	got = receive("receive", ends[1], 10, 100, MSG_CMSG_CLOEXEC);
	say("is another", got != file);
	say("reads on", read(got, text, 3));
	printf("  %.3s\n", text);
	say("shares the position", lseek(file, 0, SEEK_CUR));
	close(got);
	many[0] = many[1] = many[2] = file;
	say("three", send_files(ends[0], "three", 5, many, 3, 0));
	close(receive("room for two", ends[1], 10, CMSG_LEN(8), 0));
	say("one", send_files(ends[0], "one", 3, many, 1, 0));
	receive("no room", ends[1], 10, 0, 0);
	say("one", send_files(ends[0], "one", 3, many, 1, 0));
	say("read", read(ends[1], text, 10));
	say("wrong", send_files(ends[0], "wrong", 5, &wrong, 1, 0));
	say("plain", send_files(ends[0], "plain", 5, NULL, 0, 0));
	say("one", send_files(ends[0], "one", 3, many, 1, 0));
	say("behind", send_files(ends[0], "behind", 6, NULL, 0, 0));
	close(receive("up to the file", ends[1], 100, 100, 0));
	close(receive("up to the file", ends[1], 100, 100, MSG_DONTWAIT));
	close(receive("the rest", ends[1], 100, 100, MSG_DONTWAIT));
	receive("nothing", ends[1], 100, 100, MSG_DONTWAIT);
	say("cut", send_files(ends[0], "long message", 12, NULL, 0, 0));
	receive("cut", ends[1], 4, 100, 0);
	if (kind == SOCK_STREAM)
		receive("rest", ends[1], 100, 100, 0);
	say("cut", send(ends[0], "long message", 12, 0));
	say("whole size", recv(ends[1], text, 4, MSG_TRUNC));
	if (kind == SOCK_STREAM)
		receive("rest", ends[1], 100, 100, 0);

	if (!fork()) {
		say("another pair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
		send_files(ends[0], "mine", 4, &pair[0], 1, 0);
		close(pair[0]);
		say("from the parent", read(pair[1], text, 16));
		_exit(0);
	}
	got = receive("from the child", ends[1], 10, 100, 0);
	sent = write(got, "to child", 8);
	wait(&status);
	say("to the child", sent);
	close(got);
	close(ends[1]);
	say("nobody reads", send_files(ends[0], "x", 1, &file, 1, MSG_NOSIGNAL));
	close(ends[0]);
	close(file);
}

static void credentials(int kind)
{
	union { struct cmsghdr head; char bytes[CMSG_SPACE(sizeof(struct ucred))]; } beside;
	struct iovec part = { "credited", 8 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &beside,
				  .msg_controllen = sizeof(beside) };
	struct ucred mine = { getpid(), getuid(), getgid() }, found;
	socklen_t size = sizeof(found);
	int ends[2], on = 1, file = open("passed", O_RDONLY);

	printf("credentials, kind %d\n", kind);
	socketpair(AF_UNIX, kind, 0, ends);
	say("before", send(ends[0], "before", 6, 0));
	say("set", setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	say("after", send(ends[0], "after", 5, 0));
	receive("before", ends[1], 6, 100, 0);
	receive("after", ends[1], 6, 100, 0);
	memset(&beside, 0, sizeof(beside));
	beside.head.cmsg_level = SOL_SOCKET;
	beside.head.cmsg_type = SCM_CREDENTIALS;
	beside.head.cmsg_len = CMSG_LEN(sizeof(mine));
	memcpy(CMSG_DATA(&beside.head), &mine, sizeof(mine));
	say("said", sendmsg(ends[0], &message, 0));
	receive("said", ends[1], 100, 100, 0);
	say("with a file", send_files(ends[0], "with file", 9, &file, 1, 0));
	close(receive("with a file", ends[1], 100, 100, 0));
	fflush(stdout);
	if (!fork()) {
		write(ends[0], "child", 5);
		_exit(0);
	}
	wait(NULL);
	say("me", write(ends[0], "parent", 6));
	receive("one writer at a time", ends[1], 100, 100, 0);
	receive("and then the other", ends[1], 100, 100, 0);
	say("peer", getsockopt(ends[0], SOL_SOCKET, SO_PEERCRED, &found, &size));
	printf("  %d %d %d of %d bytes\n", found.pid == getpid(), found.uid == getuid(), found.gid == getgid(), (int)size);
	close(ends[0]);
	close(ends[1]);
	close(file);
}

static socklen_t address(struct sockaddr_un *made, const char *name)
{
	memset(made, 0, sizeof(*made));
	made->sun_family = AF_UNIX;
	if (name[0] == '@') {
		memcpy(made->sun_path + 1, name + 1, strlen(name) - 1);
		return offsetof(struct sockaddr_un, sun_path) + strlen(name);
	}
	strcpy(made->sun_path, name);
	return offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1;
}

static void show_name(const char *what, int result, const struct sockaddr_un *name, socklen_t size)
{
	say(what, result);
	if (!result)
		printf("  family %d size %d %.*s\n", name->sun_family, (int)size, size > 2 ? (int)size - 3 : 0,
		       name->sun_path + !name->sun_path[0]);
	fflush(stdout);
}

static void connections(int kind, const char *text)
{
	struct sockaddr_un name, found;
	socklen_t size, length = address(&name, text);
	int listener = socket(AF_UNIX, kind, 0), client = socket(AF_UNIX, kind | SOCK_CLOEXEC, 0), server, value;
	struct pollfd polled = { listener, POLLIN | POLLOUT, 0 };
	struct stat inode;
	char buffer[16] = "";
	pid_t child;

	printf("connections of kind %d by %s\n", kind, text);
	say("nobody there", connect(client, (void *)&name, length));
	say("poll", poll(&polled, 1, 0));
	printf("  events %#x\n", polled.revents);
	say("listen without a name", listen(listener, 5));
	say("bind", bind(listener, (void *)&name, length));
	say("bind again", bind(listener, (void *)&name, length));
	say("bind another", bind(client, (void *)&name, length));
	if (text[0] != '@' && !stat(text, &inode))
		printf("mode %o\n", inode.st_mode & 0170000);
	say("nobody listens", connect(client, (void *)&name, length));
	say("send", send(client, "x", 1, MSG_NOSIGNAL));
	say("receive", recv(client, buffer, 1, MSG_DONTWAIT));
	say("accept", accept(client, NULL, NULL));
	say("listen", listen(listener, 1));
	size = sizeof(value);
	say("listens", getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &value, &size));
	printf("  %d\n", value);
	fcntl(listener, F_SETFL, O_NONBLOCK);
	say("nobody came", accept4(listener, NULL, NULL, 0));
	say("connect", connect(client, (void *)&name, length));
	say("connect again", connect(client, (void *)&name, length));
	say("send before it is accepted", send(client, "early", 5, 0));
	say("poll", poll(&polled, 1, 0));
	printf("  events %#x\n", polled.revents);
	size = sizeof(found);
	server = accept4(listener, (void *)&found, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
	show_name("accept", server < 0 ? -1 : 0, &found, size);
	printf("flags %o %d\n", fcntl(server, F_GETFL) & O_NONBLOCK, fcntl(server, F_GETFD));
	say("receive", recv(server, buffer, 16, 0));
	printf("  %s\n", buffer);
	size = sizeof(found);
	show_name("name of the server", getsockname(server, (void *)&found, &size), &found, size);
	size = sizeof(found);
	show_name("name of the client", getsockname(client, (void *)&found, &size), &found, size);
	size = sizeof(found);
	show_name("who the client has", getpeername(client, (void *)&found, &size), &found, size);
	size = sizeof(found);
	show_name("who the server has", getpeername(server, (void *)&found, &size), &found, size);
	size = sizeof(found);
	show_name("who the listener has", getpeername(listener, (void *)&found, &size), &found, size);
	say("answer", send(server, "answer", 6, 0));
	say("answered", recv(client, buffer, 16, 0));
	close(server);
	say("end", recv(client, buffer, 16, 0));
	say("send", send(client, "x", 1, MSG_NOSIGNAL));
	close(client);
	child = fork();
	if (!child) {
		client = socket(AF_UNIX, kind, 0);
		if (connect(client, (void *)&name, length))
			_exit(1);
		_exit(send(client, "from child", 10, 0) != 10 || recv(client, buffer, 16, 0) != 2);
	}
	fcntl(listener, F_SETFL, 0);
	server = accept(listener, NULL, NULL);
	say("waited for", server >= 0);
	struct ucred who;
	size = sizeof(who);
	say("who", getsockopt(server, SOL_SOCKET, SO_PEERCRED, &who, &size));
	printf("  %d\n", who.pid == child);
	say("its words", recv(server, buffer, 10, MSG_WAITALL));
	say("ok", send(server, "ok", 2, 0));
	wait(&value);
	printf("child %#x\n", value);
	close(server);
	client = socket(AF_UNIX, kind | SOCK_NONBLOCK, 0);
	for (value = 0; value < 4; value++) {
		close(client);
		client = socket(AF_UNIX, kind | SOCK_NONBLOCK, 0);
		say("waits to be accepted", connect(client, (void *)&name, length));
		if (value < 2)
			client = dup(client) * 0 + socket(AF_UNIX, kind | SOCK_NONBLOCK, 0);
	}
	close(client);
	client = socket(AF_UNIX, SOCK_DGRAM, 0);
	say("another kind", connect(client, (void *)&name, length));
	close(client);
	close(listener);
	client = socket(AF_UNIX, kind, 0);
	say("gone", connect(client, (void *)&name, length));
	listener = socket(AF_UNIX, kind, 0);
	say("bind anew", bind(listener, (void *)&name, length));
	close(listener);
	if (text[0] != '@')
		say("unlink", unlink(text));
	say("gone", connect(client, (void *)&name, length));
	close(client);
}

static void datagrams(void)
{
	struct sockaddr_un one, other, found;
	socklen_t first = address(&one, "@one"), second = address(&other, "two"), size;
	int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0), c, sent = 0;
	char buffer[16] = "";

	printf("datagrams\n");
	say("nowhere", send(a, "x", 1, 0));
	say("bind", bind(b, (void *)&other, second));
	say("send", sendto(a, "no name", 7, 0, (void *)&other, second));
	size = sizeof(found);
	say("receive", recvfrom(b, buffer, 16, 0, (void *)&found, &size));
	printf("  sender %d bytes\n", (int)size);
	say("bind", bind(a, (void *)&one, first));
	say("send", sendto(a, "named", 5, 0, (void *)&other, second));
	receive("receive", b, 16, 100, 0);
	say("connect", connect(a, (void *)&other, second));
	say("send", send(a, "connected", 9, 0));
	size = sizeof(found);
	show_name("receive", recvfrom(b, buffer, 16, 0, (void *)&found, &size) - 9, &found, size);
	say("answer", sendto(b, "answer", 6, 0, (void *)&found, size));
	say("receive", recv(a, buffer, 16, 0));
	c = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	say("to one that has another peer", sendto(c, "x", 1, 0, (void *)&one, first));
	say("connect to it", connect(c, (void *)&one, first));
	while (sendto(c, "many", 4, 0, (void *)&other, second) == 4)
		sent++;
	say("no more", -1);
	printf("  after %d\n", sent);
	while (recv(b, buffer, 16, MSG_DONTWAIT) > 0)
		sent--;
	printf("  left %d\n", sent);
	say("own name", bind(c, (void *)&one, 2));
	size = sizeof(found);
	say("own name", getsockname(c, (void *)&found, &size));
	printf("  size %d\n", (int)size);
	found.sun_family = AF_UNSPEC;
	say("disconnect", connect(a, (void *)&found, 2));
	say("nowhere", send(a, "x", 1, 0));
	say("connect", connect(a, (void *)&other, second));
	close(b);
	say("refused", send(a, "x", 1, 0));
	say("nowhere", send(a, "x", 1, 0));
	say("refused", sendto(a, "x", 1, 0, (void *)&other, second));
	unlink("two");
	say("gone", sendto(a, "x", 1, 0, (void *)&other, second));
	say("listen", listen(a, 1));
	say("accept", accept(a, NULL, NULL));
	close(a);
	close(c);
}

static void mistakes(void)
{
	struct sockaddr_un name;
	struct mmsghdr two[2] = { 0 };
	struct iovec parts[2] = { { "one", 3 }, { "second", 6 } };
	socklen_t length = address(&name, "nosuch/name");
	int file = open("plain", O_RDWR | O_CREAT, 0600), socket_ = socket(AF_UNIX, SOCK_STREAM, 0), ends[2];
	char text[16] = "";

	say("no network", socket(AF_APPLETALK, SOCK_STREAM, 0));
	say("no kind", socket(AF_UNIX, 9, 0));
	say("no protocol", socket(AF_UNIX, SOCK_STREAM, 7));
	say("no directory", bind(socket_, (void *)&name, length));
	say("no such name", connect(socket_, (void *)&name, length));
	length = address(&name, "plain");
	say("a file", connect(socket_, (void *)&name, length));
	say("a file", bind(socket_, (void *)&name, length));
	say("too short", bind(socket_, (void *)&name, 1));
	say("too long", bind(socket_, (void *)&name, 200));
	name.sun_family = 77;
	say("no family", bind(socket_, (void *)&name, length));
	say("no socket", listen(file, 1));
	say("open for writing", open("plain/x", O_WRONLY));
	say("shutdown", shutdown(socket_, SHUT_RD));
	socketpair(AF_UNIX, SOCK_DGRAM, 0, ends);
	two[0].msg_hdr.msg_iov = &parts[0];
	two[1].msg_hdr.msg_iov = &parts[1];
	two[0].msg_hdr.msg_iovlen = two[1].msg_hdr.msg_iovlen = 1;
	say("two messages", sendmmsg(ends[0], two, 2, 0));
	printf("  %u %u\n", two[0].msg_len, two[1].msg_len);
	say("the first", recv(ends[1], text, 16, 0));
	say("the second", recv(ends[1], text, 16, 0));
	close(file);
	close(socket_);
}

int main(void)
{
	const int kinds[3] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };

	signal(SIGPIPE, SIG_IGN);
	umask(022);
	for (int each = 0; each < 3; each++) {
		files_of_kind(kinds[each]);
		credentials(kinds[each]);
	}
	connections(SOCK_STREAM, "@abstract");
	connections(SOCK_STREAM, "in-a-file");
	connections(SOCK_SEQPACKET, "in-a-file");
	datagrams();
	mistakes();
	return 0;
}

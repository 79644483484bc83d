/* Moves bytes between files, pipes and sockets without a buffer, and prints what is returned. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int broken;

static void count_broken(int number)
{
	broken += number == SIGPIPE;
}

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
	fflush(stdout);
}

/* What can be read now. */
static void show(const char *what, int file)
{
	char text[64] = "";
	long count = read(file, text, sizeof(text) - 1);

	say(what, count);
	if (count > 0)
		printf("  '%s'\n", text);
}

static void where(int file, loff_t offset)
{
	printf("  position %ld, offset %ld\n", (long)lseek(file, 0, SEEK_CUR), (long)offset);
}

static int new_file(const char *name, const char *text, int flags)
{
	int file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (write(file, text, strlen(text)) < 0)
		exit(1);
	close(file);
	return open(name, flags);
}

static void from_files(void)
{
	int file = new_file("from", "0123456789", O_RDONLY), ends[2];
	loff_t offset = 4;

	if (pipe(ends))
		exit(1);
	say("file", splice(file, NULL, ends[1], NULL, 3, 0));
	where(file, offset);
	say("file at an offset", splice(file, &offset, ends[1], NULL, 3, SPLICE_F_MOVE));
	where(file, offset);
	show("both", ends[0]);
	say("the rest", splice(file, NULL, ends[1], NULL, 100, SPLICE_F_MORE));
	say("its end", splice(file, NULL, ends[1], NULL, 100, 0));
	offset = 1000;
	say("behind it", splice(file, &offset, ends[1], NULL, 100, 0));
	show("rest", ends[0]);
	offset = -1;
	say("before it", splice(file, &offset, ends[1], NULL, 100, 0));
	say("offset of a pipe", splice(file, NULL, ends[1], &offset, 100, 0));
	say("nothing", splice(file, NULL, ends[1], NULL, 0, 0));
	say("nothing of nothing", splice(-1, NULL, -1, NULL, 0, 0));
	say("no descriptor", splice(-1, NULL, ends[1], NULL, 1, 0));
	say("unknown flags", splice(file, NULL, ends[1], NULL, 1, 64));
	say("the wrong end", splice(file, NULL, ends[0], NULL, 1, 0));
	say("no pipe", splice(file, NULL, file, NULL, 1, 0));
	say("a wild offset", splice(file, (void *)8, ends[1], NULL, 1, 0));
	say("a directory", splice(open(".", O_RDONLY), NULL, ends[1], NULL, 1, 0));
}

static void to_files(void)
{
	int file = new_file("to", "0123456789", O_RDWR), ends[2], more[2];
	loff_t offset = 2;

	if (pipe(ends) || pipe(more) || write(ends[1], "abcdef", 6) < 0)
		exit(1);
	say("to a file", splice(ends[0], NULL, file, NULL, 2, 0));
	where(file, offset);
	say("to an offset", splice(ends[0], NULL, file, &offset, 1, 0));
	where(file, offset);
	say("to another pipe", splice(ends[0], NULL, more[1], NULL, 2, 0));
	show("other pipe", more[0]);
	say("to itself", splice(ends[0], NULL, ends[1], NULL, 2, 0));
	say("copied", tee(ends[0], more[1], 100, 0));
	show("copy", more[0]);
	say("more than there is", splice(ends[0], NULL, file, NULL, 100, 0));
	say("empty", splice(ends[0], NULL, file, NULL, 100, SPLICE_F_NONBLOCK));
	say("empty, copied", tee(ends[0], more[1], 100, SPLICE_F_NONBLOCK));
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	say("empty, to a pipe", splice(ends[0], NULL, more[1], NULL, 100, 0));
	close(ends[1]);
	say("ended", splice(ends[0], NULL, file, NULL, 100, 0));
	say("ended, to a pipe", splice(ends[0], NULL, more[1], NULL, 100, 0));
	say("ended, copied", tee(ends[0], more[1], 100, 0));
	say("copy to a file", tee(more[0], file, 1, 0));
	say("copy of nothing", tee(more[0], file, 0, 0));
	say("copy to itself", tee(more[0], more[1], 1, 0));
	lseek(file, 0, SEEK_SET);
	show("file", file);
	file = new_file("appended", "x", O_WRONLY | O_APPEND);
	if (write(more[1], "y", 1) < 0)
		exit(1);
	say("appended", splice(more[0], NULL, file, NULL, 1, 0));
	say("for reading only", splice(more[0], NULL, open("to", O_RDONLY), NULL, 1, 0));
}

static void memory(void)
{
	char one[] = "one", two[] = "three", got[8] = "", rest[8] = "";
	struct iovec parts[2] = { { one, 3 }, { two, 5 } }, room[2] = { { got, 4 }, { rest, 7 } };
	int ends[2], file = new_file("no-pipe", "", O_RDWR);

	if (pipe(ends))
		exit(1);
	say("from memory", vmsplice(ends[1], parts, 2, 0));
	say("to memory", vmsplice(ends[0], room, 2, 0));
	printf("  '%s' '%s'\n", got, rest);
	say("no memory", vmsplice(ends[1], parts, 0, 0));
	say("empty", vmsplice(ends[0], room, 2, SPLICE_F_NONBLOCK));
	say("no pipe", vmsplice(file, parts, 2, 0));
	say("unknown flags", vmsplice(ends[1], parts, 2, 64));
	say("gift", vmsplice(ends[1], parts, 1, SPLICE_F_GIFT));
	show("given", ends[0]);
	close(ends[1]);
	say("ended", vmsplice(ends[0], room, 2, 0));
}

static void broken_pipes(void)
{
	int file = new_file("broken", "0123456789", O_RDONLY), ends[2], more[2], pair[2];
	char text[] = "text";
	struct iovec part = { text, 4 };

	signal(SIGPIPE, count_broken);
	if (pipe(ends) || pipe(more) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || write(more[1], "abc", 3) < 0)
		exit(1);
	close(ends[0]);
	close(pair[0]);
	say("splice", splice(file, NULL, ends[1], NULL, 4, 0));
	say("splice from a pipe", splice(more[0], NULL, ends[1], NULL, 4, 0));
	say("tee", tee(more[0], ends[1], 4, 0));
	say("vmsplice", vmsplice(ends[1], &part, 1, 0));
	say("sendfile", sendfile(ends[1], file, NULL, 4));
	printf("%d signals\n", broken);
	say("sendfile to a socket", sendfile(pair[1], file, NULL, 4));
	where(file, 0);
	show("still there", more[0]);
}

static void full_pipes(void)
{
	int file, zeros = open("/dev/zero", O_RDONLY), ends[2], more[2];
	char page[4096] = "";
	loff_t offset = 0;

	if (pipe(ends) || pipe(more))
		exit(1);
	fcntl(ends[1], F_SETPIPE_SZ, 8192);
	file = new_file("many", "", O_RDWR);
	for (int number = 0; number < 4; number++)
		if (write(file, page, sizeof(page)) < 0)
			exit(1);
	say("as much as there is room for", splice(file, &offset, ends[1], NULL, 16384, 0));
	say("full", splice(file, &offset, ends[1], NULL, 16384, SPLICE_F_NONBLOCK));
	if (write(more[1], "abc", 3) < 0)
		exit(1);
	say("full, from a pipe", splice(more[0], NULL, ends[1], NULL, 3, SPLICE_F_NONBLOCK));
	say("full, copied", tee(more[0], ends[1], 3, SPLICE_F_NONBLOCK));
	fcntl(ends[1], F_SETFL, O_NONBLOCK);
	say("full, sendfile", sendfile(ends[1], file, &offset, 4096));
	say("out", splice(ends[0], NULL, open("/dev/null", O_WRONLY), NULL, 16384, 0));
	lseek(file, 0, SEEK_SET);
	say("sendfile", sendfile(ends[1], file, NULL, 16384));
	say("zeros", splice(zeros, NULL, more[1], NULL, 5, 0));
}

/* A child reads or writes the other end after a while. */
static void waits(void)
{
	int ends[2], more[2], file = new_file("waited", "", O_RDWR), child, status;
	char page[4096] = "";

	if (pipe(ends) || pipe(more))
		exit(1);
	child = fork();
	if (!child) {
		usleep(50000);
		_exit(write(ends[1], "late", 4) != 4);
	}
	say("waited for bytes", splice(ends[0], NULL, file, NULL, 100, 0));
	waitpid(child, &status, 0);
	fcntl(more[1], F_SETPIPE_SZ, 4096);
	if (write(more[1], page, sizeof(page)) < 0 || write(ends[1], "late", 4) < 0)
		exit(1);
	child = fork();
	if (!child) {
		usleep(50000);
		_exit(read(more[0], page, sizeof(page)) != sizeof(page));
	}
	say("waited for room", splice(ends[0], NULL, more[1], NULL, 100, 0));
	waitpid(child, &status, 0);
	show("at last", more[0]);
	child = fork();
	if (!child) {
		usleep(50000);
		_exit(write(ends[1], "tee", 3) != 3);
	}
	say("waited for bytes to copy", tee(ends[0], more[1], 100, 0));
	waitpid(child, &status, 0);
	show("copied", more[0]);
	show("left", ends[0]);
}

static void send_files(void)
{
	int file = new_file("sent", "0123456789", O_RDONLY), to = new_file("got", "", O_RDWR), ends[2], pair[2];
	off_t offset = 4;

	if (pipe(ends) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		exit(1);
	say("sendfile", sendfile(to, file, NULL, 3));
	where(file, offset);
	say("at an offset", sendfile(to, file, &offset, 100));
	where(file, offset);
	say("to a pipe", sendfile(ends[1], file, NULL, 100));
	show("pipe", ends[0]);
	lseek(file, 0, SEEK_SET);
	say("to a socket", sendfile(pair[0], file, NULL, 100));
	show("socket", pair[1]);
	say("at its end", sendfile(to, file, NULL, 100));
	say("a directory", sendfile(to, open(".", O_RDONLY), NULL, 1));
	say("from a pipe", sendfile(to, ends[0], NULL, 1));
	say("offset of a pipe", sendfile(to, ends[0], &offset, 1));
	offset = -5;
	say("before it", sendfile(to, file, &offset, 1));
	say("for reading only", sendfile(file, to, NULL, 1));
	say("for writing only", sendfile(to, open("got", O_WRONLY), NULL, 1));
	say("appended", sendfile(open("got", O_WRONLY | O_APPEND), file, NULL, 1));
	lseek(to, 0, SEEK_SET);
	show("got", to);
	say("from a socket", write(pair[1], "spliced", 7));
	say("from a socket", splice(pair[0], NULL, ends[1], NULL, 100, 0));
	show("spliced", ends[0]);
	say("from an empty socket", splice(pair[0], NULL, ends[1], NULL, 100, SPLICE_F_NONBLOCK));
	if (write(ends[1], "there", 5) < 0)
		exit(1);
	say("to a socket", splice(ends[0], NULL, pair[0], NULL, 100, 0));
	show("there", pair[1]);
}

int main(void)
{
	from_files();
	to_files();
	memory();
	broken_pipes();
	full_pipes();
	waits();
	send_files();
	return 0;
}

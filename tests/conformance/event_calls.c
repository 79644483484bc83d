/* Calls epoll, eventfd, timerfd, pipes, FIFOs and socket pairs, and prints what they return. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
}

static void wait_for(const char *what, int epoll, int timeout)
{
	struct epoll_event found[4];
	int count = epoll_wait(epoll, found, 4, timeout);

	say(what, count);
	for (int i = 0; i < count; i++)
		printf("  events %#x data %llx\n", found[i].events, (unsigned long long)found[i].data.u64);
}

static void counters(int epoll)
{
	uint64_t value = 5;
	int event = eventfd(2, EFD_NONBLOCK | EFD_CLOEXEC);
	struct epoll_event wanted = { EPOLLIN | EPOLLET, { .u64 = 0x1122334455667788 } };

	say("eventfd is closed on exec", fcntl(event, F_GETFD));
	say("add", epoll_ctl(epoll, EPOLL_CTL_ADD, event, &wanted));
	say("add again", epoll_ctl(epoll, EPOLL_CTL_ADD, event, &wanted));
	wait_for("counter", epoll, -1);
	wait_for("counter again", epoll, 0);
	say("write", write(event, &value, 8));
	wait_for("counter after a write", epoll, 0);
	say("read", read(event, &value, 8));
	say("value", value);
	say("read", read(event, &value, 8));
	say("short read", read(event, &value, 4));
	say("delete", epoll_ctl(epoll, EPOLL_CTL_DEL, event, NULL));
	say("delete again", epoll_ctl(epoll, EPOLL_CTL_DEL, event, NULL));
	say("no epoll", epoll_ctl(event, EPOLL_CTL_ADD, epoll, &wanted));
	close(event);
}

static void timers(int epoll)
{
	struct itimerspec setting = { { 0, 5000000 }, { 0, 10000000 } }, left;
	struct epoll_event wanted = { EPOLLIN, { .u64 = 9 } };
	uint64_t times = 0;
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	say("add timer", epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &wanted));
	wait_for("timer that is not started", epoll, 1);
	say("start", timerfd_settime(timer, 0, &setting, NULL));
	wait_for("timer", epoll, -1);
	say("read", read(timer, &times, 8));
	printf("ended at least once: %d\n", times >= 1);
	say("stop", timerfd_settime(timer, 0, &(struct itimerspec){ 0 }, &left));
	printf("interval %ld.%09ld\n", (long)left.it_interval.tv_sec, left.it_interval.tv_nsec);
	setting.it_value.tv_nsec = 1000000000;
	say("wrong time", timerfd_settime(timer, 0, &setting, NULL));
	say("wrong clock", timerfd_create(2, 0));
	close(timer);
}

static void sockets(int kind)
{
	int ends[2], value = 0;
	socklen_t size = sizeof(value);
	char buffer[16] = "";
	struct pollfd polled;

	printf("sockets of kind %d\n", kind);
	say("pair", socketpair(AF_UNIX, kind | SOCK_NONBLOCK, 0, ends));
	say("type", getsockopt(ends[0], SOL_SOCKET, SO_TYPE, &value, &size));
	printf("  %d of %d bytes\n", value, (int)size);
	say("read", read(ends[1], buffer, 16));
	say("write", write(ends[0], "hello", 5));
	say("send", send(ends[0], "world", 5, MSG_NOSIGNAL));
	say("peek", recv(ends[1], buffer, 3, MSG_PEEK));
	say("read", read(ends[1], buffer, 4));
	printf("  %s\n", buffer);
	say("available", ioctl(ends[1], FIONREAD, &value));
	printf("  %d\n", value);
	say("read", recv(ends[1], buffer, 16, MSG_DONTWAIT));
	say("shutdown", shutdown(ends[0], SHUT_WR));
	polled = (struct pollfd){ ends[1], POLLIN | POLLOUT | POLLRDHUP, 0 };
	say("poll", poll(&polled, 1, 0));
	printf("  events %#x\n", polled.revents);
	close(ends[1]);
	say("send", send(ends[0], "x", 1, MSG_NOSIGNAL));
	say("no socket", send(0, "x", 1, 0));
	close(ends[0]);
}

static void blocking(void)
{
	int ends[2], status;
	char buffer[100000];
	long total = 0, count;

	mkfifo("fifo", 0600);
	fflush(stdout);
	socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
	if (fork() == 0) {
		int fifo = open("fifo", O_WRONLY);

		close(ends[0]);
		memset(buffer, 'x', sizeof(buffer));
		for (int i = 0; i < 5; i++)
			if (write(ends[1], buffer, sizeof(buffer)) != sizeof(buffer))
				_exit(1);
		write(fifo, buffer, sizeof(buffer));
		_exit(3);
	}
	close(ends[1]);
	int fifo = open("fifo", O_RDONLY);

	while ((count = read(ends[0], buffer, sizeof(buffer))) > 0 && (total += count) < 500000)
		;
	say("through the sockets", total);
	while ((count = read(fifo, buffer, 777)) > 0)
		total += count;
	say("and the FIFO", total);
	wait(&status);
	say("child", WEXITSTATUS(status));
	say("end", read(ends[0], buffer, 1));
	unlink("fifo");
}

int main(void)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	counters(epoll);
	timers(epoll);
	sockets(SOCK_STREAM);
	sockets(SOCK_DGRAM);
	sockets(SOCK_SEQPACKET);
	say("other family", socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){ 0 }));
	blocking();
	return 0;
}

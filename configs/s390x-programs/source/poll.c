/* poll: poll, select, epoll, eventfd and timerfd on pipes. */
#include "system.h"

struct pollfd { int fd; int16_t events, returned; };
struct epoll_event { uint32_t events; uint32_t pad; uint64_t data; };

enum { IN = 1, OUT = 4, ERR = 8, HUP = 16 };

static int ends[2];

static void poll_pipe(const char *name)
{
	struct pollfd all[3] = {{ends[0], IN, 0}, {ends[1], OUT, 0}, {77, IN, 0}};
	long count = system_call(SYS_poll, all, 3L, 0L);

	print("%s: poll %d: %x %x %x\n", name, count, all[0].returned, all[1].returned, all[2].returned);
}

static void select_pipe(void)
{
	uint64_t reading[16] = {1UL << ends[0]}, writing[16] = {1UL << ends[1]};
	struct timeval none = {0, 0};
	long count = system_call(SYS_select, 64L, reading, writing, 0L, &none);

	print("select %d: %d %d\n", count, reading[0] != 0, writing[0] != 0);
}

static void descriptors(void)
{
	uint64_t value = 5;
	struct { struct timespec interval, first; } timer = {{0, 1000000}, {0, 1000000}}, left;
	struct epoll_event event = {IN, 0, 0x1122334455667788}, got[2];
	long counter = system_call(SYS_eventfd2, 2L, 0L), clock = system_call(SYS_timerfd_create, (long)CLOCK_MONOTONIC, 0L);
	long epoll = system_call(SYS_epoll_create1, 0L);

	system_call(SYS_write, counter, &value, 8L);
	system_call(SYS_read, counter, &value, 8L);
	print("eventfd %d\n", value);
	print("epoll_ctl %d", system_call(SYS_epoll_ctl, epoll, 1L, clock, &event));
	print(", again %d\n", system_call(SYS_epoll_ctl, epoll, 1L, clock, &event));
	print("nothing yet %d\n", system_call(SYS_epoll_wait, epoll, got, 2L, 0L));
	system_call(SYS_timerfd_settime, clock, 0L, &timer, 0L);
	print("epoll_wait %d", system_call(SYS_epoll_wait, epoll, got, 2L, -1L));
	print(": %x %x\n", got[0].events, got[0].data);
	system_call(SYS_timerfd_gettime, clock, &left);
	print("timer's interval %d\n", left.interval.nanoseconds);
	print("read %d", system_call(SYS_read, clock, &value, 8L));
	print(", ticks %d\n", value > 0);
	dump("struct epoll_event", got, 16);
}

int main(int argc, char **argv, char **environment)
{
	static char much[4096];

	system_call(SYS_pipe2, ends, (long)O_NONBLOCK);
	poll_pipe("empty");
	select_pipe();
	print("read from an empty pipe %d\n", system_call(SYS_read, (long)ends[0], much, 1L));
	system_call(SYS_write, (long)ends[1], "x", 1L);
	poll_pipe("one byte");
	select_pipe();
	while (system_call(SYS_write, (long)ends[1], much, sizeof much) == sizeof much)
		continue;
	poll_pipe("full");
	system_call(SYS_close, (long)ends[1]);
	ends[1] = 78;
	poll_pipe("no writer");
	descriptors();
	return 0;
}

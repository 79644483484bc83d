/* pipe: fork, wait, pipes, and what parent and child share. */
#include "system.h"

static void through_a_pipe(void)
{
	int ends[2];
	char text[64];
	long pid, got, total = 0;

	system_call(SYS_pipe, ends);
	pid = system_call(SYS_fork);
	if (pid == 0) {
		system_call(SYS_close, (long)ends[0]);
		for (int count = 0; count < 20000; count++)
			if (system_call(SYS_write, (long)ends[1], "0123456789", 10L) != 10)
				leave(1);
		leave(3);
	}
	system_call(SYS_close, (long)ends[1]);
	while ((got = system_call(SYS_read, (long)ends[0], text, sizeof text)) > 0)
		total += got;
	print("read %d bytes, then %d; child's status %4x\n", total, got, wait_for(pid));
	system_call(SYS_close, (long)ends[0]);
}

static void shared_offset(const char *self)
{
	char bytes[5] = "";
	long descriptor = system_call(SYS_open, self, (long)O_RDONLY, 0L);
	long pid = system_call(SYS_fork);

	if (pid == 0) {
		system_call(SYS_read, descriptor, bytes, 2L);
		leave(0);
	}
	wait_for(pid);
	print("offset after the child read 2: %d\n", system_call(SYS_lseek, descriptor, 0L, 1L));
	system_call(SYS_close, descriptor);
}

static int number = 1;

static void own_memory(void)
{
	long pid = system_call(SYS_fork);

	if (pid == 0) {
		number = 2;
		leave(number);
	}
	print("child's status %4x, the parent's number %d\n", wait_for(pid), number);
}

static void broken_pipe(void)
{
	int ends[2];
	long pid;

	system_call(SYS_pipe, ends);
	pid = system_call(SYS_fork);
	if (pid == 0) {
		system_call(SYS_close, (long)ends[0]);
		system_call(SYS_write, (long)ends[1], "x", 1L);
		leave(0);
	}
	system_call(SYS_close, (long)ends[0]);
	system_call(SYS_close, (long)ends[1]);
	print("pipe without a reader: status %4x\n", wait_for(pid));
}

int main(int argc, char **argv, char **environment)
{
	through_a_pipe();
	shared_offset("/bin/hello");
	own_memory();
	broken_pipe();
	print("nobody left to wait for: %d\n", system_call(SYS_wait4, -1L, 0L, 0L, 0L));
	return 0;
}

/* repeat WHAT [N]: do a thing N times, to measure it: call (getpid), fork (and wait), switch (two processes and two pipes),
   touch (new pages). */
#include "system.h"

static void forks(long count)
{
	while (count--) {
		long pid = system_call(SYS_fork);

		if (pid == 0)
			leave(0);
		wait_for(pid);
	}
}

static void switches(long count)
{
	int there[2], back[2];
	char byte = 0;

	system_call(SYS_pipe, there);
	system_call(SYS_pipe, back);
	if (system_call(SYS_fork) == 0) {
		system_call(SYS_close, (long)there[1]);
		while (system_call(SYS_read, (long)there[0], &byte, 1L) == 1)
			system_call(SYS_write, (long)back[1], &byte, 1L);
		leave(0);
	}
	while (count--) {
		system_call(SYS_write, (long)there[1], &byte, 1L);
		system_call(SYS_read, (long)back[0], &byte, 1L);
	}
}

int main(int argc, char **argv, char **environment)
{
	long count = argc > 2 ? number_in(argv[2]) : 1;

	if (argc < 2)
		return 2;
	if (equal(argv[1], "call"))
		for (long left = count; left; left--)
			system_call(SYS_getpid);
	if (equal(argv[1], "fork"))
		forks(count);
	if (equal(argv[1], "switch"))
		switches(count);
	if (equal(argv[1], "touch")) {
		volatile char *area = map_memory(0, count * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		for (long page = 0; page < count; page++)
			area[page * PAGE_SIZE] = 1;
	}
	print("%s %d\n", argv[1], count);
	return 0;
}

/* fault [-h] KIND: go wrong. With -h print the signal's information first. Kinds: see main. */
#include "system.h"

static char stack[8192];

static void report(int number, void *information, void *context)
{
	struct siginfo *info = information;

	print("signal %d si_code %d\n", number, info->code);
	leave(100 + number);
}

static volatile long bottom = 1L << 40;

static long deep(long depth)
{
	volatile char room[1024];

	room[depth % 1024] = depth;
	return depth == bottom ? 0 : deep(depth + 1) + room[depth % 1024];
}

static volatile long zero;

static void fail(const char *kind)
{
	if (equal(kind, "illegal"))
		__asm__ volatile(".short 0x0000");
	if (equal(kind, "privileged"))
		__asm__ volatile("stidp 0(%0)" : : "a"(stack) : "memory");
	if (equal(kind, "divide"))
		__asm__ volatile("lghi %%r3,1\n\tdsgr %%r2,%0" : : "d"(zero) : "2", "3");
	if (equal(kind, "overflowing-divide")) /* 64 bits over 32: the quotient has no room */
		__asm__ volatile("lhi %%r2,-2\n\tlhi %%r3,0\n\tdr %%r2,%0" : : "d"(1L) : "2", "3");
	if (equal(kind, "odd-pair"))
		__asm__ volatile(".short 0x1d32"); /* DR with R3 */
	if (equal(kind, "null"))
		*(volatile int *)zero = 1;
	if (equal(kind, "jump"))
		((void (*)(void))zero)();
	if (equal(kind, "wild"))
		*(volatile long *)0x123456789a0 = 1;
	if (equal(kind, "text"))
		*(volatile char *)(uint64_t)main = 0;
	if (equal(kind, "stack"))
		zero = deep(0);
	if (equal(kind, "abort"))
		system_call(SYS_kill, system_call(SYS_getpid), (long)SIGABRT);
}

int main(int argc, char **argv, char **environment)
{
	struct { void *stack; uint64_t flags, size; } alternate = {stack, 0, sizeof stack};

	if (argc > 2) {
		system_call(SYS_sigaltstack, &alternate, 0L);
		handle(SIGILL, report, 0);
		handle(SIGFPE, report, 0);
		handle(SIGTRAP, report, 0);
		handle(SIGSEGV, report, SA_ONSTACK);
	}
	if (argc > 1)
		fail(argv[argc - 1]);
	print("nothing went wrong\n");
	return 1;
}

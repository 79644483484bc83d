/* signals: what handlers get, masks, alternate stacks, restarted and interrupted calls. */
#include "system.h"

struct alternate_stack { /* stack_t */
	char *start;
	int flags;
	uint64_t size;
};

static int ends[2];
static int caught;

static void report(int number, void *information, void *context)
{
	struct siginfo *info = information;

	print("signal %d: si_signo %d si_errno %d si_code %d", number, info->signo, info->errno_, info->code);
	if (info->code <= 0)
		print(" own pid %d uid %d", info->sent.pid == system_call(SYS_getpid), info->sent.uid == system_call(SYS_getuid));
	if (info->code == -1)
		print(" value %x", info->sent.value);
	print("\n");
	caught++;
}

static void report_child(int number, void *information, void *context)
{
	struct siginfo *info = information;

	print("SIGCHLD: si_code %d si_status %d\n", info->code, info->child.status);
}

static void where(int number, void *information, void *context)
{
	char here;
	struct alternate_stack stack;

	system_call(SYS_sigaltstack, 0L, &stack);
	print("on the alternate stack: %d, its flags %d\n",
	      &here >= stack.start && &here < stack.start + stack.size, stack.flags);
}

static void write_late(int number, void *information, void *context)
{
	system_call(SYS_write, (long)ends[1], "late", 4L);
}

static void masks(void)
{
	uint64_t mask = 1UL << (SIGUSR1 - 1) | 1UL << (SIGKILL - 1), old = 0, pending = 0;

	system_call(SYS_rt_sigprocmask, (long)SIG_BLOCK, &mask, 0L, 8L);
	system_call(SYS_rt_sigprocmask, (long)SIG_BLOCK, 0L, &old, 8L);
	dump("mask", &old, sizeof old);
	system_call(SYS_kill, system_call(SYS_getpid), (long)SIGUSR1);
	system_call(SYS_rt_sigpending, &pending, 8L);
	dump("pending", &pending, sizeof pending);
	print("unblock:\n");
	system_call(SYS_rt_sigprocmask, (long)SIG_UNBLOCK, &mask, 0L, 8L);
}

static void calls(uint64_t flags)
{
	struct timeval timer[2] = {{0, 0}, {0, 20000}};
	char text[8] = "";
	long got;

	handle(SIGALRM, write_late, flags);
	system_call(SYS_setitimer, 0L, timer, 0L);
	got = system_call(SYS_read, (long)ends[0], text, 4L);
	print("interrupted read: %d\n", got);
	if (got < 0)
		system_call(SYS_read, (long)ends[0], text, 4L);
}

int main(int argc, char **argv, char **environment)
{
	static char stack[8192];
	struct alternate_stack alternate = {stack, 0, sizeof stack};
	struct siginfo queued = {.signo = SIGUSR2, .code = -1};
	struct sigaction old;
	uint64_t only_this = ~(1UL << (SIGUSR1 - 1)), both = 1UL << (SIGUSR1 - 1) | 1UL << (SIGUSR2 - 1);
	struct timespec second = {1, 0};
	struct siginfo taken;
	long pid = system_call(SYS_getpid);

	handle(SIGUSR1, report, 0);
	handle(SIGUSR2, report, SA_RESTART);
	system_call(SYS_kill, pid, (long)SIGUSR1);
	system_call(SYS_tgkill, pid, system_call(SYS_gettid), (long)SIGUSR1);
	queued.sent.pid = pid;
	queued.sent.uid = system_call(SYS_getuid);
	queued.sent.value = 0x1122334455667788;
	system_call(SYS_rt_sigqueueinfo, pid, (long)SIGUSR2, &queued);
	system_call(SYS_rt_sigaction, (long)SIGUSR2, 0L, &old, 8L);
	print("SIGUSR2's flags %x mask %x\n", old.flags & ~0x04000000UL, old.mask);
	masks();

	system_call(SYS_rt_sigprocmask, (long)SIG_BLOCK, &both, 0L, 8L);
	system_call(SYS_kill, pid, (long)SIGUSR1);
	print("suspend: %d\n", system_call(SYS_rt_sigsuspend, &only_this, 8L));
	system_call(SYS_kill, pid, (long)SIGUSR2);
	print("sigtimedwait: %d, si_code %d\n", system_call(SYS_rt_sigtimedwait, &both, &taken, &second, 8L), taken.code);
	second.seconds = 0;
	print("sigtimedwait, nothing there: %d\n", system_call(SYS_rt_sigtimedwait, &both, &taken, &second, 8L));
	system_call(SYS_rt_sigprocmask, (long)SIG_UNBLOCK, &both, 0L, 8L);

	system_call(SYS_sigaltstack, &alternate, 0L);
	handle(SIGUSR1, where, SA_ONSTACK);
	system_call(SYS_kill, pid, (long)SIGUSR1);
	handle(SIGUSR1, where, 0);
	system_call(SYS_kill, pid, (long)SIGUSR1);

	system_call(SYS_pipe, ends);
	calls(0);
	calls(SA_RESTART);

	handle(SIGCHLD, report_child, SA_RESTART);
	for (int how = 0; how < 2; how++) {
		long child = system_call(SYS_fork);

		if (child == 0) {
			if (how)
				system_call(SYS_kill, system_call(SYS_getpid), (long)SIGTERM);
			leave(7);
		}
		print("status %4x\n", wait_for(child));
	}
	print("SIGKILL cannot be caught: %d\n", system_call(SYS_rt_sigaction, (long)SIGKILL, &old, 0L, 8L));
	print("no such signal: %d\n", system_call(SYS_kill, pid, 65L));
	print("caught %d\n", caught);
	return 0;
}

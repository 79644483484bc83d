/* Asks for scheduling policies and priorities, waits for processes by open files, and reads from positions. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
	fflush(stdout);
}

static pid_t child(void (*function)(void))
{
	pid_t made;

	fflush(stdout);
	made = fork();
	if (made)
		return made;
	function();
	_exit(7);
}

static int ended(pid_t of)
{
	int status;

	waitpid(of, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void end_with_policy(void)
{
	_exit(sched_getscheduler(0));
}

static void policies(void)
{
	struct sched_param none = { 0 }, some = { 5 }, found = { 99 };
	struct attributes told, wanted = { sizeof wanted, SCHED_BATCH, 0, 3, 0, 0, 0, 0 };
	cpu_set_t set;

	say("policy", sched_getscheduler(0));
	say("batch", sched_setscheduler(0, SCHED_BATCH, &none));
	say("policy", sched_getscheduler(getpid()));
	say("a child's", ended(child(end_with_policy)));
	say("with a priority", sched_setscheduler(0, SCHED_OTHER, &some));
	say("without one", sched_setscheduler(0, SCHED_FIFO, &none));
	say("none", sched_setscheduler(0, 77, &none));
	say("no parameters", sched_setscheduler(0, SCHED_OTHER, NULL));
	say("nobody", sched_setscheduler(1 << 30, SCHED_OTHER, &none));
	say("below 0", sched_getscheduler(-1));
	say("parameters", sched_getparam(0, &found));
	printf("  %d\n", found.sched_priority);
	say("set parameters", sched_setparam(0, &none));
	say("set parameters", sched_setparam(0, &some));
	say("nobody's turns", sched_rr_get_interval(1 << 30, &(struct timespec){ 0 }));
	say("attributes", syscall(SYS_sched_setattr, 0, &wanted, 0));
	memset(&told, 0x55, sizeof told);
	say("attributes", syscall(SYS_sched_getattr, 0, &told, sizeof told, 0));
	printf("  %u %u %d %u\n", told.size, told.policy, told.nice, told.priority);
	say("too small", syscall(SYS_sched_getattr, 0, &told, 40, 0));
	say("flags", syscall(SYS_sched_getattr, 0, &told, sizeof told, 1));
	say("nobody's processors", sched_getaffinity(1 << 30, sizeof set, &set));
	CPU_ZERO(&set);
	say("no processors", sched_setaffinity(0, sizeof set, &set));
}

static void io_priorities(void)
{
	say("set", syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 5));
	say("get", syscall(SYS_ioprio_get, 1, 0));
	say("idle", syscall(SYS_ioprio_set, 1, 0, 3 << 13));
	say("get", syscall(SYS_ioprio_get, 1, getpid()));
	say("no class", syscall(SYS_ioprio_set, 1, 0, 4 << 13));
	say("no kind", syscall(SYS_ioprio_get, 9, 0));
	say("nobody", syscall(SYS_ioprio_get, 1, 1 << 30));
}

static void wait_for_signal(void)
{
	for (;;)
		pause();
}

static void end_soon(void)
{
	nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
	_exit(9);
}

static void processes(void)
{
	pid_t one = child(wait_for_signal), other = child(end_soon);
	int first = syscall(SYS_pidfd_open, one, 0), second = syscall(SYS_pidfd_open, other, O_NONBLOCK);
	struct pollfd polled[2] = { { first, POLLIN, 0 }, { second, POLLIN, 0 } };
	siginfo_t found;

	printf("opened %d %d, close on exec %d\n", first >= 0, second >= 0, fcntl(first, F_GETFD));
	say("nobody", syscall(SYS_pidfd_open, 1 << 30, 0));
	say("0", syscall(SYS_pidfd_open, 0, 0));
	say("flags", syscall(SYS_pidfd_open, one, 1));
	say("poll", poll(polled, 1, 0));
	say("poll", poll(polled, 2, -1));
	printf("  %d %d\n", polled[0].revents, polled[1].revents);
	say("could be sent", syscall(SYS_pidfd_send_signal, first, 0, NULL, 0));
	say("no signal", syscall(SYS_pidfd_send_signal, first, 99, NULL, 0));
	say("no process", syscall(SYS_pidfd_send_signal, 0, 0, NULL, 0));
	say("end it", syscall(SYS_pidfd_send_signal, first, SIGTERM, NULL, 0));
	memset(&found, 0, sizeof found);
	say("wait", waitid(P_PIDFD, first, &found, WEXITED));
	printf("  code %d status %d\n", found.si_code, found.si_status);
	say("wait", waitid(P_PIDFD, second, &found, WEXITED));
	printf("  code %d status %d\n", found.si_code, found.si_status);
	say("gone", syscall(SYS_pidfd_send_signal, first, 0, NULL, 0));
	say("wait for none", waitid(P_PIDFD, 0, &found, WEXITED));
	say("read", read(first, &found, 1));
}

static void note(int number)
{
	(void)number;
}

static void queued(void)
{
	siginfo_t info = { .si_signo = SIGUSR1, .si_code = SI_QUEUE }, found;
	sigset_t set;

	info.si_value.sival_int = 12;
	signal(SIGUSR1, note);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	say("to this thread", syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGUSR1, &info));
	say("taken", sigwaitinfo(&set, &found));
	printf("  code %d value %d\n", found.si_code, found.si_value.sival_int);
	say("of another process", syscall(SYS_rt_tgsigqueueinfo, 1 << 30, gettid(), SIGUSR1, &info));
	say("no signal", syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), 99, &info));
	say("no thread", syscall(SYS_rt_tgsigqueueinfo, getpid(), 0, SIGUSR1, &info));
}

static void positions(void)
{
	char one[4] = "", two[4] = "", all[11] = "";
	struct iovec parts[2] = { { one, 3 }, { two, 3 } }, bad = { one, -1 };
	int file = open("positions", O_RDWR | O_CREAT | O_TRUNC, 0600);

	write(file, "abcdefghij", 10);
	lseek(file, 1, SEEK_SET);
	say("from a position", preadv2(file, parts, 2, 4, 0));
	printf("  %s %s\n", one, two);
	say("from its own", preadv2(file, parts, 1, -1, 0));
	printf("  %s at %ld\n", one, (long)lseek(file, 0, SEEK_CUR));
	say("to a position", pwritev2(file, parts, 1, 0, 0));
	say("to its own", pwritev2(file, parts, 1, -1, 0));
	say("unknown flags", preadv2(file, parts, 1, 0, 0x1000));
	say("below nothing", readv(file, &bad, 1));
	lseek(file, 0, SEEK_SET);
	say("all", read(file, all, 10));
	printf("  %s\n", all);
	unlink("positions");
}

int main(void)
{
	policies();
	io_priorities();
	processes();
	queued();
	positions();
	return 0;
}

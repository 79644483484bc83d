/* Waits for children, sets timers, reads signals from a file, and starts programs with too many arguments. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int caught, value, code;

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
	fflush(stdout);
}

static void handler(int number, siginfo_t *info, void *context)
{
	(void)context;
	caught = number;
	value = info->si_value.sival_int;
	code = info->si_code;
}

static void handle(int number)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	sigaction(number, &action, NULL);
}

static pid_t child(int end)
{
	pid_t made;

	fflush(stdout);
	made = fork();
	if (made)
		return made;
	if (end == -1)
		for (;;)
			pause();
	if (end < 0)
		kill(getpid(), -end);
	_exit(end);
}

static void waited(const char *what, pid_t of, idtype_t kind, id_t number, int options)
{
	siginfo_t found;
	int result;

	memset(&found, 0, sizeof(found));
	result = waitid(kind, number, &found, options);
	say(what, result);
	if (!result)
		printf("  signal %d code %d status %d child %d user %d\n", found.si_signo, found.si_code, found.si_status,
		       found.si_pid == of, found.si_uid == getuid());
	fflush(stdout);
}

static void children(void)
{
	pid_t one = child(7), other, group;
	int status;

	waited("leave it", one, P_PID, one, WEXITED | WNOWAIT);
	waited("take it", one, P_PID, one, WEXITED);
	waited("gone", one, P_PID, one, WEXITED);
	one = child(-SIGKILL);
	waited("killed", one, P_ALL, 0, WEXITED);
	one = child(-1);
	waited("not yet", 0, P_PID, one, WEXITED | WNOHANG);
	kill(one, SIGSTOP);
	waited("stopped", one, P_PID, one, WSTOPPED);
	waited("told once", 0, P_PID, one, WSTOPPED | WNOHANG);
	kill(one, SIGCONT);
	waited("goes on", one, P_PID, one, WCONTINUED);
	other = child(-1);
	setpgid(other, other);
	waited("group without an end", 0, P_PGID, other, WEXITED | WNOHANG);
	kill(other, SIGTERM);
	waited("group", other, P_PGID, other, WEXITED);
	waited("no group", 0, P_PGID, other, WEXITED);
	kill(one, SIGTERM);
	waited("own group", one, P_PGID, 0, WEXITED);
	waited("no kind", 0, 9, 0, WEXITED);
	waited("no options", 0, P_ALL, 0, 0);
	waited("other options", 0, P_ALL, 0, WEXITED | 64);
	waited("nobody", 0, P_ALL, 0, WEXITED);
	group = child(3);
	say("without information", waitid(P_PID, group, NULL, WEXITED));
	group = child(-SIGTERM);
	say("wait4", waitpid(group, &status, 0) == group);
	printf("status %#x\n", status);
}

static void waits_for(int number)
{
	sigset_t none;

	sigemptyset(&none);
	while (!caught)
		sigsuspend(&none);
	printf("signal %d %s", caught, caught == number ? "is right" : "is wrong");
	printf(" code %d value %d\n", code, code == SI_TIMER ? value : 0);
	caught = 0;
}

static void timers(void)
{
	struct itimerval setting = { { 0, 0 }, { 0, 20000 } }, before;
	struct itimerspec exact = { { 0, 5000000 }, { 0, 5000000 } }, left;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value = { .sival_int = 77 } };
	sigset_t blocked, pending;
	timer_t timer, silent;

	handle(SIGALRM);
	handle(SIGUSR1);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGALRM);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	say("interval timer", setitimer(ITIMER_REAL, &setting, NULL));
	waits_for(SIGALRM);
	setting.it_value.tv_sec = 1000;
	setting.it_interval.tv_sec = 5;
	say("long", setitimer(ITIMER_REAL, &setting, NULL));
	say("get", getitimer(ITIMER_REAL, &before));
	printf("  interval %ld left %d\n", (long)before.it_interval.tv_sec, before.it_value.tv_sec >= 900);
	say("alarm tells", alarm(0) > 900);
	say("no timer", setitimer(99, &setting, NULL));
	setting.it_value.tv_usec = 1000000;
	say("too many", setitimer(ITIMER_REAL, &setting, NULL));

	say("timer", timer_create(CLOCK_MONOTONIC, &event, &timer));
	say("set", timer_settime(timer, 0, &exact, NULL));
	waits_for(SIGUSR1);
	waits_for(SIGUSR1);
	say("get", timer_gettime(timer, &left));
	printf("  interval %ld\n", left.it_interval.tv_nsec);
	memset(&exact, 0, sizeof(exact));
	say("stop", timer_settime(timer, 0, &exact, &left));
	printf("  interval %ld\n", left.it_interval.tv_nsec);
	say("overrun", timer_getoverrun(timer) >= 0);
	say("delete", timer_delete(timer));
	event.sigev_notify = SIGEV_NONE;
	say("silent", timer_create(CLOCK_REALTIME, &event, &silent));
	exact.it_value.tv_sec = 1;
	say("in the past", timer_settime(silent, TIMER_ABSTIME, &exact, NULL));
	say("over", timer_gettime(silent, &left));
	printf("  left %ld %ld\n", (long)left.it_value.tv_sec, left.it_value.tv_nsec);
	exact.it_value.tv_nsec = -1;
	say("wrong time", timer_settime(silent, 0, &exact, NULL));
	say("delete", timer_delete(silent));
	say("no clock", timer_create(99, NULL, &timer));
	sigpending(&pending);
	printf("pending %d\n", sigismember(&pending, SIGALRM));
}

static void signals_in_files(void)
{
	struct signalfd_siginfo found[3];
	struct pollfd polled = { -1, POLLIN, 0 };
	union sigval given = { .sival_int = 55 };
	sigset_t set;
	int file;
	pid_t made;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	file = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	say("made", file >= 0);
	polled.fd = file;
	say("poll", poll(&polled, 1, 0));
	say("nothing", read(file, found, sizeof(found)));
	kill(getpid(), SIGUSR2);
	sigqueue(getpid(), SIGRTMIN, given);
	say("poll", poll(&polled, 1, 1000));
	printf("  events %#x\n", polled.revents);
	say("too small", read(file, found, 100));
	say("both", read(file, found, sizeof(found)));
	for (int each = 0; each < 2; each++)
		printf("  signal %u code %d me %d user %d\n", found[each].ssi_signo - (each ? SIGRTMIN : 0),
		       found[each].ssi_code, found[each].ssi_pid == (unsigned)getpid(), found[each].ssi_uid == getuid());
	say("none left", read(file, found, sizeof(found)));
	fcntl(file, F_SETFL, 0);
	made = child(9);
	say("waits for a child", read(file, found, sizeof(found)));
	printf("  signal %u code %d it %d status %d\n", found[0].ssi_signo, found[0].ssi_code,
	       found[0].ssi_pid == (unsigned)made, found[0].ssi_status);
	waitpid(made, NULL, 0);
	fflush(stdout);
	made = fork();
	if (!made) {
		kill(getpid(), SIGUSR2);
		say("the child's own", read(file, found, sizeof(found)));
		printf("  me %d\n", found[0].ssi_pid == (unsigned)getpid());
		fflush(stdout);
		_exit(0);
	}
	waitpid(made, NULL, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	say("others", signalfd(file, &set, 0) == file);
	fcntl(file, F_SETFL, O_NONBLOCK);
	say("no child any more", read(file, found, sizeof(found)));
	say("write", write(file, found, 128));
	say("no signalfd", signalfd(0, &set, 0));
	say("wrong flags", signalfd(-1, &set, 1));
	close(file);
}

static void arguments(void)
{
	size_t size = 200000, count = 100;
	char *large = malloc(size), *words[102], *environment[] = { NULL };

	memset(large, 'x', size);
	large[size - 1] = 0;
	words[0] = "program";
	words[1] = large;
	words[2] = NULL;
	say("a long word", execve("/proc/self/exe", words, environment));
	large[100000] = 0;
	for (size_t each = 1; each <= count; each++)
		words[each] = large;
	words[count + 1] = NULL;
	say("many words", execve("/proc/self/exe", words, environment));
	words[1] = NULL;
	say("much environment", execve("/proc/self/exe", words, words + 2));
	free(large);
}

int main(int count, char **words)
{
	if (count && !strcmp(words[0], "program"))
		return 99;
	children();
	timers();
	signals_in_files();
	arguments();
	return 0;
}

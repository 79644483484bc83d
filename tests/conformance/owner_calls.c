/* Who hears of an open file: F_SETOWN, F_GETOWN, their kin of struct f_owner_ex, and the signal. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what, int result)
{
	printf("%s: %d, error %d\n", what, result < 0 ? -1 : result, result < 0 ? errno : 0);
}

static const char *name_of(int number)
{
	return number == 0 ? "nobody" : number == getpid() ? "me" : number == -getpgrp() ? "my group" : "another";
}

static void show(const char *what, int file)
{
	struct f_owner_ex owner = { 9, 9 };

	printf("%s: %s", what, name_of(fcntl(file, F_GETOWN)));
	fcntl(file, F_GETOWN_EX, &owner);
	printf(", kind %d: %s\n", owner.type, owner.type == F_OWNER_PGRP ? name_of(-owner.pid) : name_of(owner.pid));
}

int main(void)
{
	struct f_owner_ex thread = { F_OWNER_TID, getpid() }, wrong = { 3, getpid() }, nobody = { F_OWNER_PID, 4000000 };
	int ends[2], again, child;

	pipe(ends);
	show("at first", ends[0]);
	say("me", fcntl(ends[0], F_SETOWN, getpid()));
	again = dup(ends[0]);
	show("me", again);
	show("the other end", ends[1]);
	say("my group", fcntl(ends[0], F_SETOWN, -getpgrp()));
	show("my group", ends[0]);
	say("no process", fcntl(ends[0], F_SETOWN, 4000000));
	say("no group", fcntl(ends[0], F_SETOWN, -4000000));
	say("least number", fcntl(ends[0], F_SETOWN, INT_MIN));
	show("as it was", ends[0]);
	say("thread", fcntl(ends[0], F_SETOWN_EX, &thread));
	show("thread", ends[0]);
	say("wrong kind", fcntl(ends[0], F_SETOWN_EX, &wrong));
	say("nobody", fcntl(ends[0], F_SETOWN_EX, &nobody));
	show("still the thread", ends[0]);
	say("no owner", fcntl(ends[0], F_SETOWN, 0));
	show("no owner", ends[0]);
	say("signal at first", fcntl(again, F_GETSIG));
	say("signal", fcntl(ends[0], F_SETSIG, SIGUSR1));
	say("signal", fcntl(again, F_GETSIG));
	say("wrong signal", fcntl(ends[0], F_SETSIG, 70));
	fflush(stdout);
	child = fork();
	if (child == 0)
		pause();
	say("child", fcntl(ends[0], F_SETOWN, child));
	show("child", ends[0]);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	show("child that has ended", ends[0]);
	return 0;
}

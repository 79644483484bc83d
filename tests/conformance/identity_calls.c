/* Becomes other users, gives capabilities up, and prints what is left. Root runs it. */

#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct __user_cap_data_struct sets[2];

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
	fflush(stdout);
}

static long get(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };

	return syscall(SYS_capget, &header, sets);
}

static long set(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };

	return syscall(SYS_capset, &header, sets);
}

static void who(void)
{
	uid_t users[3], groups[3];

	getresuid(users, users + 1, users + 2);
	getresgid(groups, groups + 1, groups + 2);
	get();
	printf("  %d %d %d, %d %d %d, permitted %d, effective %d, SETUID %d\n", users[0], users[1], users[2],
	       groups[0], groups[1], groups[2], sets[0].permitted != 0, sets[0].effective != 0,
	       sets[0].effective >> CAP_SETUID & 1);
	fflush(stdout);
}

/* Run something in a process of its own. */
static void apart(const char *what, void (*run)(void))
{
	int status;
	pid_t child;

	printf("%s\n", what);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		run();
		_exit(0);
	}
	waitpid(child, &status, 0);
	say("status", status);
}

static void for_a_time(void)
{
	say("setegid", setegid(7));
	say("seteuid", seteuid(7));
	who();
	say("setuid to another", setuid(8));
	say("setresuid to another", setresuid(-1, 8, -1));
	say("setgroups", setgroups(0, NULL));
	say("seteuid back", seteuid(0));
	who();
	say("setreuid", setreuid(5, 6));
	who();
	say("exchange", setreuid(6, 5));
	who();
	say("setreuid to another", setreuid(-1, 0));
}

static void for_good(void)
{
	gid_t groups[2] = { 9, 3 };

	say("setgroups", setgroups(2, groups));
	say("getgroups", getgroups(2, groups));
	say("too few", getgroups(1, groups));
	say("setgid", setgid(7));
	say("setuid", setuid(7));
	who();
	say("back", setuid(0));
	say("effective back", seteuid(0));
	say("its own", setuid(7));
	say("kill", kill(getppid(), 0));
}

static void keeping(void)
{
	say("keepcaps", prctl(PR_GET_KEEPCAPS));
	say("neither", prctl(PR_SET_KEEPCAPS, 2));
	say("keep", prctl(PR_SET_KEEPCAPS, 1));
	say("keepcaps", prctl(PR_GET_KEEPCAPS));
	say("setuid", setresuid(7, 7, 7));
	who();
	get();
	sets[0].effective = sets[0].permitted & (1 << CAP_SETUID);
	say("capset", set());
	who();
	say("setuid", setresuid(8, 8, 8));
	who();
	get();
	sets[0].permitted = sets[0].effective = sets[0].inheritable = 0;
	say("capset", set());
	sets[0].permitted = 1 << CAP_SETUID;
	say("capset of more", set());
	say("setuid", setresuid(9, 9, 9));
}

static void without_capabilities(void)
{
	struct __user_cap_header_struct header = { 1, 0 };

	say("capget of another version", syscall(SYS_capget, &header, sets));
	printf("version %x\n", header.version);
	header.version = 1;
	say("capget that asks", syscall(SYS_capget, &header, NULL));
	header.pid = -1;
	say("capget of nobody", syscall(SYS_capget, &header, sets));
	header.pid = getppid();
	get();
	say("capset of another", syscall(SYS_capset, &header, sets));
	sets[0].effective &= ~(1 << CAP_SETUID | 1 << CAP_SETGID | 1 << CAP_KILL);
	say("capset", set());
	who();
	say("setuid", setresuid(7, 7, 7));
	say("setgroups", setgroups(0, NULL));
	get();
	sets[0].permitted &= ~(1 << CAP_CHOWN);
	say("capset of what is not permitted", set());
	sets[0].effective = 0;
	say("capset", set());
	sets[0].effective = 1 << CAP_CHOWN;
	say("capset of what is not permitted any more", set());
}

static void bounding(void)
{
	say("has", prctl(PR_CAPBSET_READ, CAP_CHOWN));
	say("no such", prctl(PR_CAPBSET_READ, 63));
	say("drop", prctl(PR_CAPBSET_DROP, CAP_CHOWN));
	say("has", prctl(PR_CAPBSET_READ, CAP_CHOWN));
	say("drop of none", prctl(PR_CAPBSET_DROP, 63));
	say("ambient", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0));
	say("raise", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
	get();
	sets[0].inheritable = 1 << CAP_KILL;
	say("capset", set());
	say("raise", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
	say("ambient", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0));
	say("lower", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_KILL, 0, 0));
	say("ambient", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0));
	say("no such", prctl(PR_CAP_AMBIENT, 9, CAP_KILL, 0, 0));
	say("clear", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	say("setuid", setuid(7));
	say("drop", prctl(PR_CAPBSET_DROP, CAP_KILL));
}

static void privileges(void)
{
	int number = -1;

	say("no new privileges", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	say("set 0", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
	say("set 1", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	say("no new privileges", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	say("dumpable", prctl(PR_GET_DUMPABLE));
	say("set", prctl(PR_SET_DUMPABLE, 0));
	say("dumpable", prctl(PR_GET_DUMPABLE));
	say("set 2", prctl(PR_SET_DUMPABLE, 2));
	say("death signal", prctl(PR_SET_PDEATHSIG, SIGUSR1));
	say("death signal", prctl(PR_GET_PDEATHSIG, &number));
	say("is", number);
	say("no such", prctl(PR_SET_PDEATHSIG, 65));
}

static void parent_ends(void)
{
	int ends[2];
	char text;

	(void)!pipe(ends);
	if (fork() == 0) { /* the parent, which ends when its child is ready */
		int ready[2];

		(void)!pipe(ready);
		if (fork() == 0) {
			close(ends[0]);
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			(void)!write(ready[1], "x", 1);
			pause();
		}
		(void)!read(ready[0], &text, 1);
		_exit(0);
	}
	close(ends[1]);
	say("the child is gone, too", read(ends[0], &text, 1));
}

int main(void)
{
	apart("for a time", for_a_time);
	apart("for good", for_good);
	apart("keeping", keeping);
	apart("without capabilities", without_capabilities);
	apart("bounding", bounding);
	apart("privileges", privileges);
	apart("the parent ends", parent_ends);
	return 0;
}

/* Is both sides of pseudo terminals, and prints what each finds. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
	fflush(stdout);
}

static void show(const char *what, int file)
{
	char text[300];
	long size = read(file, text, sizeof(text));

	printf("%s:", what);
	if (size < 0)
		printf(" %s", strerror(errno));
	for (long i = 0; i < size; i++)
		printf(text[i] >= ' ' && text[i] < 127 ? "%c" : "\\%o", text[i] & 255);
	printf("\n");
	fflush(stdout);
}

/* What is written to one side takes a moment to the other. */
static void wait_for_bytes(int file, int size)
{
	int found = 0;

	while (found < size)
		ioctl(file, FIONREAD, &found);
}

static void show_all(const char *what, int file, int size)
{
	wait_for_bytes(file, size);
	show(what, file);
}

static void look(const char *what, int file)
{
	struct pollfd wanted = { file, POLLIN | POLLOUT, 0 };

	poll(&wanted, 1, 0);
	printf("%s can be:%s%s%s%s\n", what, wanted.revents & POLLIN ? " read" : "",
	       wanted.revents & POLLOUT ? " written" : "", wanted.revents & POLLHUP ? " hung up" : "",
	       wanted.revents & POLLERR ? " in error" : "");
}

static int new_pty(char *name, size_t size)
{
	int keyboard = posix_openpt(O_RDWR | O_NOCTTY);

	grantpt(keyboard);
	unlockpt(keyboard);
	if (ptsname_r(keyboard, name, size))
		perror("ptsname");
	return keyboard;
}

static void locked(void)
{
	int keyboard = open("/dev/ptmx", O_RDWR | O_NOCTTY), lock;
	struct stat found;
	char name[50];

	say("new", keyboard >= 0);
	say("grantpt", grantpt(keyboard));
	say("name", ptsname_r(keyboard, name, sizeof(name)));
	say("begins", strncmp(name, "/dev/pts/", 9));
	say("open of a locked one", open(name, O_RDWR | O_NOCTTY));
	lock = 0;
	say("TIOCSPTLCK", ioctl(keyboard, TIOCSPTLCK, &lock));
	say("stat", stat(name, &found));
	printf("device %d\n", (int)(found.st_rdev >> 8 & 0xfff));
	say("isatty", isatty(keyboard));
	say("chmod", chmod(name, 0600));
	say("stat", stat(name, &found));
	printf("mode %o\n", found.st_mode);
	close(keyboard);
	say("open of a closed one", open(name, O_RDWR | O_NOCTTY));
}

static void both_sides(void)
{
	char name[50];
	int keyboard = new_pty(name, sizeof(name)), screen;
	struct winsize size = { 33, 99, 0, 0 };
	struct termios settings;

	fcntl(keyboard, F_SETFL, O_NONBLOCK);
	look("keyboard before an open", keyboard);
	show("nothing shown", keyboard);
	screen = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
	look("keyboard", keyboard);
	look("screen", screen);
	say("write", write(screen, "one\ntwo", 7));
	show_all("shown", keyboard, 8);
	say("type", write(keyboard, "ab\177c\nd", 6));
	show_all("echo", keyboard, 9);
	look("screen", screen);
	show_all("line", screen, 3);
	show("no line", screen);
	say("size", ioctl(keyboard, TIOCSWINSZ, &size));
	memset(&size, 0, sizeof(size));
	say("size", ioctl(screen, TIOCGWINSZ, &size));
	printf("%d rows, %d columns\n", size.ws_row, size.ws_col);
	say("settings by the keyboard", tcgetattr(keyboard, &settings));
	cfmakeraw(&settings);
	say("set", tcsetattr(keyboard, TCSANOW, &settings));
	say("type", write(keyboard, "\3\4\r\n", 4));
	show_all("raw", screen, 5);
	show("no echo", keyboard);
	say("write", write(screen, "x\n", 2));
	show_all("raw output", keyboard, 2);
	say("type", write(keyboard, "lost", 4));
	wait_for_bytes(screen, 4);
	say("flush", tcflush(screen, TCIFLUSH));
	show("flushed", screen);
	say("foreground", tcgetpgrp(screen));
	say("session", tcgetsid(screen));
	close(screen);
	look("keyboard after the last close", keyboard);
	show("after the last close", keyboard);
	screen = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
	look("keyboard after another open", keyboard);
	say("write", write(screen, "last", 4));
	wait_for_bytes(keyboard, 4);
	close(screen);
	look("keyboard with a rest", keyboard);
	show("rest", keyboard);
	show("end", keyboard);
	screen = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
	close(keyboard);
	look("hung up", screen);
	show("hung up", screen);
	say("hung up", write(screen, "x", 1));
	say("hung up", tcgetattr(screen, &settings));
	close(screen);
}

static void caught(int signal)
{
	printf("signal %d\n", signal);
	fflush(stdout);
}

static void wait_for(int screen, const char *word)
{
	char text[300];
	long size = 0, more;

	memset(text, 0, sizeof(text));
	while (!strstr(text, word) && (more = read(screen, text + size, sizeof(text) - 1 - size)) > 0)
		size += more;
}

static void session(void)
{
	char name[50];
	int keyboard = new_pty(name, sizeof(name)), status, files[2], one = 1;
	pid_t child, leader;

	(void)!pipe(files);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		struct sigaction action = { .sa_handler = caught };
		int screen, terminal;
		sigset_t all, none;

		sigfillset(&all);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &all, NULL); /* a signal that comes too early waits for sigsuspend */
		close(keyboard);
		sigaction(SIGINT, &action, NULL);
		sigaction(SIGWINCH, &action, NULL);
		sigaction(SIGHUP, &action, NULL);
		say("no terminal", open("/dev/tty", O_RDWR) < 0 ? -1 : 0);
		say("no leader", ioctl(open(name, O_RDWR | O_NOCTTY), TIOCSCTTY, 0));
		say("leads", setsid() == getpid());
		say("still none", open("/dev/tty", O_RDWR) < 0 ? -1 : 0);
		screen = open(name, O_RDWR);
		terminal = open("/dev/tty", O_RDWR);
		say("took it by opening it", terminal >= 0);
		say("takes it again", ioctl(screen, TIOCSCTTY, 0));
		say("foreground", tcgetpgrp(screen) == getpid());
		(void)!write(screen, "ready", 5);
		sigsuspend(&none);
		(void)!write(screen, "signalled", 9);
		sigsuspend(&none);
		(void)!write(screen, "resized", 7);
		sigsuspend(&none);
		show("end", screen);
		say("terminal is gone", open("/dev/tty", O_RDWR) < 0 ? -1 : 0);
		(void)!write(files[1], "x", 1);
		_exit(7);
	}
	wait_for(keyboard, "ready");
	leader = -1;
	say("foreground by the keyboard", ioctl(keyboard, TIOCGPGRP, &leader));
	say("is the child", leader == child);
	(void)!write(keyboard, "\3", 1);
	wait_for(keyboard, "signalled");
	ioctl(keyboard, TIOCSWINSZ, &(struct winsize){ 10, 20, 0, 0 });
	wait_for(keyboard, "resized");
	say("packets", ioctl(keyboard, TIOCPKT, &one));
	close(keyboard);
	wait_for(files[0], "x");
	say("wait", waitpid(child, &status, 0) == child);
	say("status", WEXITSTATUS(status));
}

static void leader_ends(void)
{
	char name[50];
	int keyboard = new_pty(name, sizeof(name)), status, tells[2];
	pid_t child;

	(void)!pipe(tells);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		int screen;

		setsid();
		screen = open(name, O_RDWR);
		if (fork() == 0) { /* of the foreground: SIGHUP ends it, which closes the last side of the pipe */
			close(keyboard);
			(void)!write(screen, "ready", 5);
			pause();
			_exit(0);
		}
		pause();
		_exit(0);
	}
	close(tells[1]);
	wait_for(keyboard, "ready");
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	show("all have ended", tells[0]);
	show("nobody has it", keyboard);
	close(keyboard);
}

int main(void)
{
	locked();
	both_sides();
	session();
	leader_ends();
	return 0;
}

/* Uses the terminal that it runs on, and prints what it finds; each line that ends with "?" waits for a key. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t last_signal;

static void note(int number)
{
	last_signal = number;
}

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
}

static void show(const char *what, const char *bytes, long size)
{
	printf("%s: %ld", what, size);
	for (long i = 0; i < size; i++)
		printf(" %02x", (unsigned char)bytes[i]);
	printf("\n");
}

static void look(void)
{
	struct termios settings;
	struct winsize size;
	const char *name = ttyname(0);

	printf("terminal %d %d, named /dev/pts %d\n", isatty(0), isatty(1), name && !strncmp(name, "/dev/pts/", 9));
	say("settings", tcgetattr(0, &settings));
	printf("%#x %#x %#x\n", settings.c_iflag, settings.c_oflag, settings.c_lflag);
	for (int i = 0; i < 17; i++)
		printf("%02x ", settings.c_cc[i]);
	say("\nsize", ioctl(0, TIOCGWINSZ, &size));
	printf("%d %d\n", size.ws_row, size.ws_col);
	printf("leads %d, foreground %d, session %d\n", getsid(0) == getpid(), tcgetpgrp(0) == getpgrp(), tcgetsid(0) == getsid(0));
}

static void structures(void)
{
	char settings[36], changed[36], pixels[8] = { 0, 30, 0, 90, 1, 2, 3, 4 };

	memset(settings, 0x55, sizeof(settings));
	say("settings", ioctl(0, TCGETS, settings));
	show("bytes", settings, sizeof(settings));
	memcpy(changed, settings, sizeof(settings));
	changed[15] ^= 0x10; /* ECHOE */
	changed[17 + VMIN] = 7;
	say("set", ioctl(0, TCSETS, changed));
	memset(changed, 0x55, sizeof(changed));
	say("settings", ioctl(0, TCGETS, changed));
	show("bytes", changed, sizeof(changed));
	say("set back", ioctl(0, TCSETS, settings));
	say("size", ioctl(0, TIOCSWINSZ, pixels));
	memset(pixels, 0x55, sizeof(pixels));
	say("size", ioctl(0, TIOCGWINSZ, pixels));
	show("bytes", pixels, sizeof(pixels));
	say("bad address", ioctl(0, TCGETS, (void *)8));
}

static void lines(void)
{
	char buffer[100];
	long size;

	printf("line?\n");
	size = read(0, buffer, 3);
	show("part", buffer, size);
	size = read(0, buffer, sizeof(buffer));
	show("rest", buffer, size);
	printf("end of file?\n");
	size = read(0, buffer, sizeof(buffer));
	show("line without newline", buffer, size);
	say("end", read(0, buffer, sizeof(buffer)));
}

static void keys(void)
{
	struct termios before, raw;
	struct pollfd polled = { 0, POLLIN, 0 };
	char buffer[100];

	tcgetattr(0, &before);
	raw = before;
	cfmakeraw(&raw);
	say("raw", tcsetattr(0, TCSAFLUSH, &raw));
	say("poll", poll(&polled, 1, 0));
	printf("key?\n");
	say("poll", poll(&polled, 1, -1));
	show("key", buffer, read(0, buffer, sizeof(buffer)));
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 1;
	tcsetattr(0, TCSANOW, &raw);
	say("nothing in time", read(0, buffer, sizeof(buffer)));
	say("cooked", tcsetattr(0, TCSADRAIN, &before));
}

static void signals(void)
{
	struct sigaction action = { .sa_handler = note };
	char buffer[100];

	sigaction(SIGINT, &action, NULL);
	printf("interrupt?\n");
	say("read", read(0, buffer, sizeof(buffer)));
	printf("signal %d\n", (int)last_signal);
	signal(SIGINT, SIG_DFL);
}

static void jobs(void)
{
	int status, tty = open("/dev/tty", O_RDWR);
	char buffer[100];
	pid_t child;

	say("/dev/tty", write(tty, "written\n", 8));
	fflush(stdout);
	child = fork();
	if (child == 0) {
		setpgid(0, 0);
		printf("job reads %ld\n", (long)read(0, buffer, sizeof(buffer)));
		fflush(stdout);
		pause();
	}
	waitpid(child, &status, WUNTRACED);
	printf("job is stopped %d by %d\n", WIFSTOPPED(status), WIFSTOPPED(status) ? WSTOPSIG(status) : 0);
	say("foreground", tcsetpgrp(tty, child));
	kill(-child, SIGCONT);
	printf("line for the job?\n");
	fflush(stdout);
	signal(SIGTTOU, SIG_IGN);
	while (waitpid(child, &status, 0) < 0)
		;
	printf("job ended by %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	say("back", tcsetpgrp(tty, getpgrp()));
	say("no such group", tcsetpgrp(tty, 99999));
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	look();
	structures();
	lines();
	keys();
	signals();
	jobs();
	return 0;
}

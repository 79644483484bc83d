/* Locks files by flock and fcntl, in one process and in two, and prints what the calls return. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
	fflush(stdout);
}

static int lock(int file, int command, int kind, int whence, long start, long size)
{
	struct flock wanted = { kind, whence, start, size, 0 };

	return fcntl(file, command, &wanted);
}

static void ask(const char *what, int file, int command, int kind, long start, long size, pid_t me)
{
	struct flock found = { kind, SEEK_SET, start, size, 0 };

	say(what, fcntl(file, command, &found));
	printf("  kind %d whence %d from %ld size %ld process %s\n", found.l_type, found.l_whence, (long)found.l_start,
	       (long)found.l_len, found.l_pid == me ? "parent" : found.l_pid > 0 ? "other" : found.l_pid ? "-1" : "0");
	fflush(stdout);
}

static void end(pid_t child)
{
	int status;

	waitpid(child, &status, 0);
	printf("child: %#x\n", status);
	fflush(stdout);
}

static void whole_files(void)
{
	int first = open("whole", O_RDWR | O_CREAT, 0600), second = open("whole", O_RDONLY), third;

	say("shared", flock(first, LOCK_SH));
	say("shared by another open", flock(second, LOCK_SH | LOCK_NB));
	say("exclusive beside it", flock(first, LOCK_EX | LOCK_NB));
	say("exclusive: the first lost its lock", flock(second, LOCK_EX | LOCK_NB));
	say("shared beside exclusive", flock(first, LOCK_SH | LOCK_NB));
	third = dup(second);
	close(second);
	say("kept by a duplicate", flock(first, LOCK_SH | LOCK_NB));
	say("unlocked by a duplicate", flock(third, LOCK_UN));
	say("free", flock(first, LOCK_EX | LOCK_NB));
	say("again", flock(first, LOCK_EX | LOCK_NB));
	close(first);
	say("ended by the close", flock(third, LOCK_EX | LOCK_NB));
	if (!fork()) {
		say("a child has its parent's", flock(third, LOCK_EX | LOCK_NB));
		first = open("whole", O_RDONLY);
		say("an open of its own has not", flock(first, LOCK_EX | LOCK_NB));
		_exit(0);
	}
	end(-1);
	say("record locks are others", lock(third, F_SETLK, F_RDLCK, SEEK_SET, 0, 0));
	say("no operation", flock(third, LOCK_NB));
	say("two operations", flock(third, LOCK_SH | LOCK_EX));
	say("no file", flock(99, LOCK_SH));
	first = open(".", O_RDONLY);
	say("a directory", flock(first, LOCK_EX | LOCK_NB));
	close(first);
	close(third);
}

static void records(void)
{
	int file = open("records", O_RDWR | O_CREAT | O_TRUNC, 0600), reading, writing;
	pid_t me = getpid();

	say("write", write(file, "0123456789", 10));
	say("read lock", lock(file, F_SETLK, F_RDLCK, SEEK_SET, 0, 100));
	say("write lock in it", lock(file, F_SETLK, F_WRLCK, SEEK_SET, 40, 20));
	say("unlock", lock(file, F_SETLK, F_UNLCK, SEEK_SET, 90, 0));
	say("to the end of the file", lock(file, F_SETLK, F_WRLCK, SEEK_END, 990, 0));
	say("before the position", lock(file, F_SETLK, F_WRLCK, SEEK_CUR, 490, -10));
	ask("own locks are no obstacle", file, F_GETLK, F_WRLCK, 0, 0, me);
	if (!fork()) {
		ask("read", file, F_GETLK, F_RDLCK, 0, 0, me);
		ask("write", file, F_GETLK, F_WRLCK, 0, 0, me);
		ask("middle", file, F_GETLK, F_WRLCK, 60, 10, me);
		ask("free", file, F_GETLK, F_WRLCK, 90, 100, me);
		ask("before the position", file, F_GETLK, F_WRLCK, 200, 295, me);
		ask("end", file, F_GETLK, F_WRLCK, 5000, 1, me);
		ask("one byte before", file, F_GETLK, F_WRLCK, 999, 1, me);
		say("in the way", lock(file, F_SETLK, F_WRLCK, SEEK_SET, 0, 1));
		say("read beside read", lock(file, F_SETLK, F_RDLCK, SEEK_SET, 0, 40));
		ask("unlock is no question", file, F_GETLK, F_UNLCK, 0, 0, me);
		_exit(0);
	}
	end(-1);
	reading = open("records", O_RDONLY);
	writing = open("records", O_WRONLY);
	say("write lock of what is read", lock(reading, F_SETLK, F_WRLCK, SEEK_SET, 0, 1));
	say("read lock of what is written", lock(writing, F_SETLK, F_RDLCK, SEEK_SET, 0, 1));
	say("before the beginning", lock(file, F_SETLK, F_RDLCK, SEEK_SET, -1, 1));
	say("size before the beginning", lock(file, F_SETLK, F_RDLCK, SEEK_SET, 1, -2));
	say("beyond the end", lock(file, F_SETLK, F_RDLCK, SEEK_SET, 0x7fffffffffffffff, 2));
	say("position beyond the end", lock(file, F_SETLK, F_RDLCK, SEEK_END, 0x7fffffffffffffff, 0));
	say("no kind", lock(file, F_SETLK, 7, SEEK_SET, 0, 1));
	say("no whence", lock(file, F_SETLK, F_RDLCK, 9, 0, 1));
	say("no file", lock(99, F_SETLK, F_RDLCK, SEEK_SET, 0, 1));
	close(writing);
	if (!fork()) {
		ask("the close of any descriptor ended all", file, F_GETLK, F_WRLCK, 0, 0, me);
		_exit(0);
	}
	end(-1);
	close(reading);
	close(file);
}

static void open_files(void)
{
	int first = open("opens", O_RDWR | O_CREAT, 0600), second = open("opens", O_RDWR);
	struct flock wrong = { F_RDLCK, SEEK_SET, 0, 1, 5 };

	say("first", lock(first, F_OFD_SETLK, F_WRLCK, SEEK_SET, 0, 10));
	say("second", lock(second, F_OFD_SETLK, F_WRLCK, SEEK_SET, 5, 10));
	say("of the process", lock(second, F_SETLK, F_WRLCK, SEEK_SET, 5, 10));
	ask("who", second, F_OFD_GETLK, F_RDLCK, 0, 0, getpid());
	ask("who, for a process", second, F_GETLK, F_RDLCK, 0, 0, getpid());
	say("with a process", fcntl(first, F_OFD_SETLK, &wrong));
	if (!fork()) {
		say("a child shares it", lock(first, F_OFD_SETLK, F_UNLCK, SEEK_SET, 0, 5));
		say("unlocked", lock(second, F_OFD_SETLK, F_WRLCK, SEEK_SET, 0, 5));
		_exit(0);
	}
	end(-1);
	say("shared", lock(first, F_OFD_SETLK, F_RDLCK, SEEK_SET, 0, 1));
	close(second);
	say("ended by the close", lock(first, F_OFD_SETLK, F_RDLCK, SEEK_SET, 0, 1));
	close(first);
}

static void caught(int number)
{
	(void)number;
}

static void waits(void)
{
	int file = open("waits", O_RDWR | O_CREAT, 0600), ready[2], go[2], other, pass;
	struct sigaction action = { .sa_handler = caught };
	struct itimerval often = { { 0, 50000 }, { 0, 50000 } };
	char byte;
	pid_t child;

	sigaction(SIGALRM, &action, NULL);
	for (pass = 0; pass < 3; pass++) {
		printf("pass %d\n", pass);
		fflush(stdout);
		if (pipe(ready) || pipe(go))
			return;
		child = fork();
		if (!child) {
			close(ready[0]);
			close(go[1]);
			other = open("waits", O_RDWR);
			if (pass == 0)
				flock(other, LOCK_EX);
			else
				lock(other, pass == 1 ? F_SETLK : F_OFD_SETLK, F_WRLCK, SEEK_SET, 0, 10);
			if (write(ready[1], "x", 1) != 1)
				_exit(1);
			_exit(read(go[0], &byte, 1)); /* until the parent has closed it */
		}
		close(ready[1]);
		close(go[0]);
		say("child has it", read(ready[0], &byte, 1));
		say("not without a wait", pass ? lock(file, pass == 1 ? F_SETLK : F_OFD_SETLK, F_RDLCK, SEEK_SET, 5, 1)
					       : flock(file, LOCK_SH | LOCK_NB));
		close(go[1]);
		say("waits for its end", pass ? lock(file, pass == 1 ? F_SETLKW : F_OFD_SETLKW, F_RDLCK, SEEK_SET, 5, 1)
					      : flock(file, LOCK_SH));
		end(child);
		close(ready[0]);
		if (pass)
			lock(file, pass == 1 ? F_SETLK : F_OFD_SETLK, F_UNLCK, SEEK_SET, 0, 0);
		else
			flock(file, LOCK_UN);
	}
	lock(file, F_SETLK, F_WRLCK, SEEK_SET, 0, 0);
	flock(file, LOCK_EX);
	if (!fork()) {
		/* Signals again and again: on a busy machine the first may come before the wait. */
		setitimer(ITIMER_REAL, &often, NULL);
		say("a signal ends the wait", lock(file, F_SETLKW, F_RDLCK, SEEK_SET, 5, 1));
		other = open("waits", O_RDWR);
		say("a signal ends the wait", flock(other, LOCK_EX));
		_exit(0);
	}
	end(-1);
	close(file);
}

static void deadlock(void)
{
	int file = open("deadlock", O_RDWR | O_CREAT, 0600), ready[2], refused, status;
	char byte;
	pid_t child;

	if (pipe(ready))
		return;
	say("first byte", lock(file, F_SETLK, F_WRLCK, SEEK_SET, 0, 1));
	child = fork();
	if (!child) {
		lock(file, F_SETLK, F_WRLCK, SEEK_SET, 1, 1);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		_exit(lock(file, F_SETLKW, F_WRLCK, SEEK_SET, 0, 1) && errno == EDEADLK);
	}
	say("child has the second", read(ready[0], &byte, 1));
	refused = lock(file, F_SETLKW, F_WRLCK, SEEK_SET, 1, 1) && errno == EDEADLK;
	say("unlock", lock(file, F_SETLK, F_UNLCK, SEEK_SET, 0, 0));
	waitpid(child, &status, 0);
	say("refused one of two that wait for each other", refused + WEXITSTATUS(status));
	say("it ended with its process", lock(file, F_SETLK, F_WRLCK, SEEK_SET, 0, 0));
	close(file);
}

int main(void)
{
	whole_files();
	records();
	open_files();
	waits();
	deadlock();
	return 0;
}

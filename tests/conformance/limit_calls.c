/* Writes files up to the limit of their size and beyond, opens files up to their limit, and prints what is returned. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int caught;

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
	if (caught)
		printf("  signal %d\n", caught);
	caught = 0;
	fflush(stdout);
}

static void catch(int number, siginfo_t *info, void *context)
{
	(void)context;
	caught = number;
	if (info->si_code != SI_USER || info->si_pid != getpid())
		caught = -1;
}

static long size_of(const char *name)
{
	struct stat found;

	return stat(name, &found) ? -1 : found.st_size;
}

static void sizes(void)
{
	struct sigaction action = { .sa_sigaction = catch, .sa_flags = SA_SIGINFO };
	struct rlimit limit = { 10000, 1000000 };
	static char text[30000];
	struct iovec parts[2] = { { text, 6000 }, { text, 6000 } };
	int file = open("limited", O_RDWR | O_CREAT, 0600), source = open("source", O_RDWR | O_CREAT, 0600), ends[2];
	int status;
	off_t from = 0, to = 0;

	memset(text, 'x', sizeof(text));
	say("source", write(source, text, sizeof(text)));
	sigaction(SIGXFSZ, &action, NULL);
	say("limit", setrlimit(RLIMIT_FSIZE, &limit));
	say("write in part", write(file, text, sizeof(text)));
	say("write at the limit", write(file, text, 1));
	say("nothing at the limit", write(file, text, 0));
	say("write before the limit", pwrite(file, text, 20, 9990));
	say("write behind the limit", pwrite(file, text, 20, 20000));
	say("truncate to the limit", ftruncate(file, 10000));
	say("truncate beyond", ftruncate(file, 10001));
	say("truncate by name", truncate("limited", 10001));
	say("allocate", fallocate(file, 0, 5000, 5000));
	say("allocate beyond", fallocate(file, 0, 5000, 5001));
	say("shorter, though beyond", ftruncate(source, 20000));
	say("empty", ftruncate(file, 0));
	lseek(file, 0, SEEK_SET);
	say("two buffers", writev(file, parts, 2));
	say("size", size_of("limited"));
	fcntl(file, F_SETFL, O_APPEND);
	say("append", write(file, text, 5));
	fcntl(file, F_SETFL, 0);
	ftruncate(file, 0);
	lseek(file, 4000, SEEK_SET);
	say("send", sendfile(file, source, &from, 20000));
	say("send more", sendfile(file, source, &from, 20000));
	say("copy", copy_file_range(source, &from, file, &to, 3000, 0));
	to = 9000;
	say("copy in part", copy_file_range(source, &from, file, &to, 3000, 0));
	say("copy beyond", copy_file_range(source, &from, file, &to, 3000, 0));
	if (!pipe(ends))
		say("a pipe has no size", write(ends[1], text, 20000));
	signal(SIGXFSZ, SIG_IGN);
	lseek(file, 0, SEEK_END);
	say("ignored", write(file, text, 1));
	if (!fork()) {
		signal(SIGXFSZ, SIG_DFL);
		say("the child ends", write(file, text, 1));
		_exit(0);
	}
	wait(&status);
	printf("by signal %d\n", WTERMSIG(status));
	limit.rlim_cur = RLIM_INFINITY;
	limit.rlim_max = RLIM_INFINITY;
	limit.rlim_cur = 1000000;
	limit.rlim_max = 1000000;
	say("raise it", setrlimit(RLIMIT_FSIZE, &limit));
	say("write", write(file, text, sizeof(text)));
	close(file);
	close(source);
}

static void files(void)
{
	struct rlimit limit = { 20, 20 };
	struct pollfd polled[32];
	int number, last = -1, ends[2];

	say("limit", setrlimit(RLIMIT_NOFILE, &limit));
	while ((number = open("/dev/null", O_RDONLY)) >= 0)
		last = number;
	say("open", number);
	printf("last %d\n", last);
	say("dup", dup(0));
	say("dup2 at the limit", dup2(0, 20));
	say("dup2 below it", dup2(0, 19));
	say("from the limit on", fcntl(0, F_DUPFD, 20));
	close(last);
	say("pipe without room for both", pipe(ends));
	say("from the last on", fcntl(0, F_DUPFD, 19));
	memset(polled, 0xff, sizeof(polled));
	say("poll of more", poll(polled, 21, 0));
	say("poll", poll(polled, 20, 0));
	if (!fork()) {
		say("a child has it", dup(0));
		_exit(0);
	}
	wait(NULL);
	limit.rlim_cur = 30;
	limit.rlim_max = 20;
	say("above the highest", setrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_max = limit.rlim_cur = (1 << 20) + 1;
	say("above what there can be", setrlimit(RLIMIT_NOFILE, &limit));
}

int main(void)
{
	sizes();
	files();
	return 0;
}

/*
 * Writes structures that system calls fill, byte by byte, to standard output. What must differ between two machines is
 * overwritten with ee before, by `hide`, which says why.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static void show(const char *name, long result, const void *start, size_t size)
{
	const unsigned char *bytes = start;

	printf("%s %ld:", name, result);
	for (size_t i = 0; i < size; i++)
		printf("%s%02x", i % 8 ? "" : " ", bytes[i]);
	printf("\n");
	fflush(stdout);
}

#define SHOW(name, result, object) show(name, result, &(object), sizeof(object))
#define hide(field, why) memset(&(field), 0xee, sizeof(field))

static void hide_stat(struct stat *found)
{
	hide(found->st_dev, "file systems are numbered");
	hide(found->st_ino, "inodes are numbered");
	hide(found->st_uid, "programs of a guest are root");
	hide(found->st_gid, "programs of a guest are root");
	hide(found->st_ctim, "the time of now");
	hide(found->st_blksize, "the file system's");
	hide(found->st_blocks, "the file system's");
}

static void files(void)
{
	struct timespec times[] = { { 1000000000, 123456789 }, { -5, 7 } };
	struct stat found;
	struct statx more;
	struct statfs system;
	struct flock lock = { .l_type = F_WRLCK, .l_start = 5, .l_len = 0x123456789 };
	unsigned char entries[512];
	char part[4], rest[8];
	struct iovec vectors[] = { { part, 3 }, { rest, 8 } };
	int file = open("file", O_RDWR | O_CREAT, 0640), directory;

	fchmod(file, 0640);
	SHOW("written", write(file, "0123456789", 10), vectors[0].iov_len);
	ftruncate(file, 0x123456789);
	futimens(file, times);
	memset(&found, 0x55, sizeof found);
	long result = syscall(SYS_fstat, file, &found);
	hide_stat(&found);
	SHOW("fstat", result, found);
	result = syscall(SYS_newfstatat, AT_FDCWD, "file", &found, 0);
	hide_stat(&found);
	SHOW("newfstatat", result, found);
	SHOW("newfstatat", syscall(SYS_newfstatat, AT_FDCWD, "none", &found, 0), part[0]);
	memset(&more, 0x55, sizeof more);
	result = syscall(SYS_statx, AT_FDCWD, "file", 0, STATX_BASIC_STATS, &more);
	hide(more.stx_mask, "which more fields there are is the file system's");
	hide(more.stx_blksize, "the file system's");
	hide(more.stx_attributes, "the file system's");
	hide(more.stx_attributes_mask, "the file system's");
	hide(more.stx_uid, "programs of a guest are root");
	hide(more.stx_gid, "programs of a guest are root");
	hide(more.stx_ino, "inodes are numbered");
	hide(more.stx_blocks, "the file system's");
	hide(more.stx_btime, "not all file systems have it");
	hide(more.stx_ctime, "the time of now");
	hide(more.stx_dev_major, "file systems are numbered");
	hide(more.stx_dev_minor, "file systems are numbered");
	memset((char *)&more + 0x90, 0xee, sizeof more - 0x90); /* newer kernels have more fields */
	SHOW("statx", result, more);
	memset(&system, 0x55, sizeof system);
	result = syscall(SYS_statfs, "/proc", &system);
	hide(system.f_fsid, "newer kernels have one");
	hide(system.f_flags, "how it is mounted");
	SHOW("statfs", result, system);
	SHOW("lock", fcntl(file, F_GETLK, &lock), lock);
	lseek(file, 0, SEEK_SET);
	SHOW("readv", readv(file, vectors, 2), rest);
	part[3] = 0;
	printf("%s\n", part);
	mkdir("directory", 0700);
	close(open("directory/a-name", O_CREAT | O_WRONLY, 0600));
	directory = open("directory", O_RDONLY | O_DIRECTORY);
	memset(entries, 0x55, sizeof entries);
	result = syscall(SYS_getdents64, directory, entries, sizeof entries);
	for (long at = 0; at < result;) {
		struct dirent64 *entry = (void *)(entries + at);

		hide(entry->d_ino, "inodes are numbered");
		hide(entry->d_off, "the file system's");
		if (entry->d_name[0] != '.') /* the order is the file system's, and what lies behind the name is not filled */
			show("entry", entry->d_reclen, entry, 19 + strlen(entry->d_name) + 1);
		at += entry->d_reclen;
	}
	printf("getdents64 %ld\n", result);
}

static void limits_and_times(void)
{
	struct rlimit limit = { 100, 200 }, old;
	struct itimerval value = { { 5, 6 }, { 1000, 0 } }, left;
	struct timespec resolution;
	struct timeval now;
	struct tms spent;
	struct rusage usage;
	struct sysinfo information;
	struct utsname name;
	struct itimerspec setting = { { 3, 4 }, { 2000, 0 } }, rest;
	timer_t timer = 0;

	SHOW("setrlimit", setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 }), limit);
	SHOW("prlimit", syscall(SYS_prlimit64, 0, RLIMIT_CORE, NULL, &old), old);
	SHOW("setitimer", setitimer(ITIMER_REAL, &value, NULL), value);
	SHOW("getitimer", getitimer(ITIMER_REAL, &left), left.it_interval);
	printf("left %d\n", left.it_value.tv_sec == 999 && left.it_value.tv_usec < 1000000);
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
	for (int policy = -1; policy < 8; policy++)
		if (policy != 7) /* newer kernels have it */
			printf("policy %d: %d to %d\n", policy, sched_get_priority_min(policy), sched_get_priority_max(policy));
	SHOW("clock_getres", syscall(SYS_clock_getres, CLOCK_MONOTONIC, &resolution), resolution);
	gettimeofday(&now, NULL);
	printf("time %d\n", now.tv_sec > 1700000000 && now.tv_usec < 1000000);
	memset(&spent, 0x55, sizeof spent);
	printf("times %d\n", times(&spent) > 0);
	printf("of children %ld %ld\n", spent.tms_cutime, spent.tms_cstime);
	memset(&usage, 0x55, sizeof usage);
	printf("usage %d %zu\n", getrusage(RUSAGE_CHILDREN, &usage), sizeof usage);
	SHOW("time of children", 0, usage.ru_utime);
	memset(&information, 0x55, sizeof information);
	printf("sysinfo %d %zu\n", sysinfo(&information), sizeof information);
	printf("unit %u, sense %d\n", information.mem_unit, information.freeram <= information.totalram);
	memset(&name, 0x55, sizeof name);
	printf("uname %d %s %s %zu\n", uname(&name), name.sysname, name.machine, sizeof name);
	printf("timer_create %d\n", timer_create(CLOCK_MONOTONIC, &(struct sigevent){ .sigev_notify = SIGEV_NONE }, &timer));
	printf("timer_settime %d\n", timer_settime(timer, 0, &setting, NULL));
	printf("timer_gettime %d\n", timer_gettime(timer, &rest));
	SHOW("interval", rest.it_value.tv_sec == 1999, rest.it_interval);
}

static void descriptors(void)
{
	int ends[2], epoll = epoll_create1(0);
	struct pollfd polled[2];
	struct epoll_event event = { EPOLLIN, { .u64 = 0x1122334455667788 } };

	pipe(ends);
	write(ends[1], "x", 1);
	polled[0] = (struct pollfd){ ends[0], POLLIN, 0x5555 };
	polled[1] = (struct pollfd){ 99, POLLIN | POLLOUT, 0x5555 };
	SHOW("poll", poll(polled, 2, 0), polled);
	epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
	memset(&event, 0x55, sizeof event);
	long result = epoll_wait(epoll, &event, 1, 0);
	memset((char *)&event + 4, 0xee, 4); /* qemu-s390x does not fill what lies between */
	SHOW("epoll", result, event);
}

static void show_message(const char *name, long result, struct msghdr *message, const void *beside)
{
	message->msg_name = message->msg_iov = message->msg_control = NULL; /* where they lie is not compared */
	message->msg_flags &= ~MSG_CTRUNC;				     /* of which qemu-s390x knows nothing */
	show(name, result, message, offsetof(struct msghdr, msg_flags) + sizeof message->msg_flags);
	message->msg_control = (void *)beside;
	for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each; each = CMSG_NXTHDR(message, each)) {
		if (each->cmsg_type == SCM_CREDENTIALS)
			memset(CMSG_DATA(each), 0xee, sizeof(struct ucred)); /* see `sockets` */
		show("beside", (char *)each - (char *)beside, each, each->cmsg_len);
	}
}

static void sockets(void)
{
	struct sockaddr_un name = { AF_UNIX, "socket" }, found, abstract = { AF_UNIX, "\0abstract" };
	struct ucred sender;
	struct timeval time = { 3, 260000 }, kept[2];
	union { struct cmsghdr head; char bytes[128]; } beside;
	char text[8];
	struct iovec part = { text, sizeof text };
	struct msghdr message = { &found, sizeof found, &part, 1, &beside, sizeof beside, 0 };
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), other = socket(AF_UNIX, SOCK_STREAM, 0), ends[2], one = 1, taken;
	socklen_t size = sizeof found;

	memset(&found, 0x55, sizeof found);
	printf("bind %d\n", bind(listener, (void *)&name, sizeof name));
	SHOW("getsockname", getsockname(listener, (void *)&found, &size), found);
	printf("size %u, listen %d, bind %d\n", size, listen(listener, 5), bind(other, (void *)&abstract, 2 + 9));
	printf("connect %d\n", connect(other, (void *)&name, sizeof name));
	memset(&found, 0x55, sizeof found);
	size = sizeof found;
	taken = accept(listener, (void *)&found, &size);
	SHOW("accept", size, found);
	memset(&found, 0x55, sizeof found);
	size = 4;
	SHOW("getpeername", getpeername(other, (void *)&found, &size), found);
	size = sizeof sender;
	printf("peer %d: %d\n", getsockopt(other, SOL_SOCKET, SO_PEERCRED, &sender, &size), sender.pid == getpid());
	hide(sender.pid, "processes are numbered");
	hide(sender.uid, "programs of a guest are root");
	hide(sender.gid, "programs of a guest are root");
	SHOW("ucred", size, sender);
	for (int each = SO_RCVTIMEO; each <= SO_SNDTIMEO; each++) {
		size = sizeof kept;
		memset(kept, 0x55, sizeof kept);
		SHOW("no time", getsockopt(taken, SOL_SOCKET, each, kept, &size), kept);
		printf("set %d\n", setsockopt(taken, SOL_SOCKET, each, &time, sizeof time));
		SHOW("time", getsockopt(taken, SOL_SOCKET, each, kept, &size), kept);
		printf("size %u, too short %d\n", size, setsockopt(taken, SOL_SOCKET, each, &time, 8));
	}
	socketpair(AF_UNIX, SOCK_DGRAM, 0, ends);
	setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof one);
	beside.head = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
	*(int *)CMSG_DATA(&beside.head) = ends[0];
	message = (struct msghdr){ NULL, 0, &part, 1, &beside, CMSG_SPACE(sizeof(int)), 0 };
	memcpy(text, "message", 8);
	printf("sendmsg %zd\n", sendmsg(ends[1], &message, 0));
	memset(&beside, 0x55, sizeof beside);
	message = (struct msghdr){ &found, sizeof found, &part, 1, &beside, sizeof beside, 0x55 };
	long result = recvmsg(ends[0], &message, MSG_CMSG_CLOEXEC);
	show_message("recvmsg", result, &message, &beside);
	setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ 0, 2000 }, sizeof time);
	printf("in time %zd %d\n", recv(ends[0], text, 8, 0), errno == EAGAIN);
	printf("in time %zd %d\n", read(ends[0], text, 8), errno == EAGAIN);
	printf("bad time %d %d\n", setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ 0, 1000000 }, sizeof time),
	       errno == EDOM);
	setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ 0, 2000 }, sizeof time);
	printf("accept %d %d\n", accept(listener, NULL, NULL), errno == EAGAIN);
	setsockopt(ends[1], SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){ 0, 2000 }, sizeof time);
	while (send(ends[1], text, 8, 0) == 8)
		;
	printf("send %d\n", errno == EAGAIN);
}

static siginfo_t told;
static ucontext_t interrupted;
static uint64_t skip;

static void note(int number, siginfo_t *info, void *context)
{
	ucontext_t *found = context;

	told = *info;
	interrupted = *found;
	found->uc_mcontext.psw.addr += skip;
}

static void show_signal(const char *name)
{
	hide(told.si_pid, "processes are numbered");
	hide(told.si_uid, "programs of a guest are root");
	memset((char *)&told + 12, 0xee, 4); /* qemu-s390x does not fill what lies between */
	if (told.si_signo == SIGCHLD)
		memset((char *)&told + 28, 0xee, 4); /* nor what lies behind the status */
	show(name, told.si_signo, &told, told.si_code == SI_QUEUE || told.si_signo == SIGCHLD ? 32 : 24);
	printf("stack flags %d\n", interrupted.uc_stack.ss_flags);
}

static void signals(void)
{
	struct { void *handler; unsigned long flags; void *restorer; uint64_t mask; } kept;
	struct sigaction action = { .sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART };
	stack_t stack = { malloc(SIGSTKSZ), 0, SIGSTKSZ }, old;
	static const int numbers[] = { SIGSEGV, SIGFPE, SIGCHLD, SIGUSR1, SIGALRM };

	sigaddset(&action.sa_mask, SIGUSR2);
	sigaddset(&action.sa_mask, SIGRTMIN + 2);
	for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
		sigaction(numbers[i], &action, NULL);
	long result = syscall(SYS_rt_sigaction, SIGUSR1, NULL, &kept, 8);
	hide(kept.handler, "where it lies is not compared");
	SHOW("rt_sigaction", result, kept);
	SHOW("sigaltstack", sigaltstack(&stack, &old), old.ss_flags);
	skip = 4; /* a load's fault leaves the address at the instruction */
	__asm__ volatile("lghi %%r1, 0\n	lghi %%r3, 0x77\n	l %%r2, 0(%%r1)" : : : "1", "2", "3", "cc");
	show("SIGSEGV", told.si_signo, &told, 24);
	show("registers", 0, &interrupted.uc_mcontext.gregs[1], 8);
	show("registers", 0, &interrupted.uc_mcontext.gregs[3], 8);
	skip = 0; /* a divide exception leaves it behind the instruction */
	__asm__ volatile("lghi %%r3, 0\n	dsgr %%r4, %%r3" : : : "3", "4", "5", "cc");
	told.si_addr = NULL;
	show("SIGFPE", told.si_signo, &told, 24);
	kill(getpid(), SIGUSR1);
	show_signal("SIGUSR1 of kill");
	raise(SIGUSR1);
	show_signal("SIGUSR1 of raise");
	union sigval value = { .sival_ptr = (void *)0x1122334455667788 };
	sigqueue(getpid(), SIGUSR1, value);
	show_signal("SIGUSR1 of sigqueue");
	sigset_t waited;
	sigemptyset(&waited);
	sigaddset(&waited, SIGCHLD);
	sigprocmask(SIG_BLOCK, &waited, NULL);
	if (fork() == 0)
		_exit(3);
	printf("waited for %d\n", sigwaitinfo(&waited, &told));
	memset((char *)&told + 32, 0, sizeof told - 32); /* the times that it used */
	show_signal("SIGCHLD");
	sigprocmask(SIG_UNBLOCK, &waited, NULL);
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value = value };
	struct itimerspec once = { { 0, 0 }, { 0, 1000000 } };
	timer_t timer = 0;
	sigemptyset(&waited);
	sigaddset(&waited, SIGUSR1);
	sigprocmask(SIG_BLOCK, &waited, NULL);
	printf("timer_create %d\n", timer_create(CLOCK_MONOTONIC, &event, &timer));
	timer_settime(timer, 0, &once, NULL);
	printf("waited for %d\n", sigwaitinfo(&waited, &told));
	memset((char *)&told + 12, 0xee, 4);
	memset((char *)&told + 16, 0xee, 4); /* timers are numbered */
	show("SIGUSR1 of a timer", told.si_signo, &told, 32);
	event = (struct sigevent){ .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1, .sigev_value = value };
	event._sigev_un._tid = 1 << 30;
	printf("no such thread %d %d\n", timer_create(CLOCK_MONOTONIC, &event, &timer), errno == EINVAL);
	event = (struct sigevent){ .sigev_notify = 77, .sigev_signo = SIGUSR1 };
	printf("no such way %d %d\n", timer_create(CLOCK_MONOTONIC, &event, &timer), errno == EINVAL);
	event = (struct sigevent){ .sigev_notify = SIGEV_SIGNAL, .sigev_signo = 99 };
	printf("no such signal %d %d\n", timer_create(CLOCK_MONOTONIC, &event, &timer), errno == EINVAL);
	printf("no such clock %d %d\n", timer_create(77, NULL, &timer), errno == EINVAL);
	siginfo_t ended;
	memset(&ended, 0x55, sizeof ended);
	printf("waitid %d\n", waitid(P_ALL, 0, &ended, WEXITED));
	told = ended;
	show_signal("waitid");
	printf("context %zu: %zu %zu %zu\n", sizeof(ucontext_t), offsetof(ucontext_t, uc_mcontext),
	       offsetof(ucontext_t, uc_sigmask), sizeof(siginfo_t));
}

int main(void)
{
	files();
	limits_and_times();
	descriptors();
	sockets();
	signals();
	return 0;
}

/* What these programs use of Linux for s390x, without a C library. Numbers and structures: Linux, arch/s390 and
   include/uapi/asm-generic. */
#ifndef SYSTEM_H
#define SYSTEM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SYS_exit = 1, SYS_fork = 2, SYS_read = 3, SYS_write = 4, SYS_open = 5, SYS_close = 6, SYS_link = 9, SYS_unlink = 10,
	SYS_execve = 11, SYS_chdir = 12, SYS_chmod = 15, SYS_lseek = 19, SYS_getpid = 20, SYS_alarm = 27, SYS_pause = 29,
	SYS_access = 33, SYS_kill = 37, SYS_rename = 38, SYS_mkdir = 39, SYS_rmdir = 40, SYS_dup = 41, SYS_pipe = 42,
	SYS_times = 43, SYS_brk = 45, SYS_ioctl = 54, SYS_fcntl = 55, SYS_setpgid = 57, SYS_umask = 60, SYS_dup2 = 63,
	SYS_getppid = 64, SYS_setsid = 66, SYS_gettimeofday = 78, SYS_symlink = 83, SYS_readlink = 85, SYS_mmap = 90,
	SYS_munmap = 91, SYS_truncate = 92, SYS_ftruncate = 93, SYS_fchmod = 94, SYS_statfs = 99, SYS_socketcall = 102,
	SYS_setitimer = 104, SYS_getitimer = 105, SYS_stat = 106, SYS_lstat = 107, SYS_fstat = 108, SYS_wait4 = 114,
	SYS_sysinfo = 116, SYS_uname = 122, SYS_mprotect = 125, SYS_getpgid = 132, SYS_select = 142, SYS_flock = 143,
	SYS_msync = 144, SYS_readv = 145, SYS_writev = 146, SYS_sched_yield = 158, SYS_nanosleep = 162, SYS_mremap = 163,
	SYS_poll = 168, SYS_rt_sigaction = 174, SYS_rt_sigprocmask = 175, SYS_rt_sigpending = 176,
	SYS_rt_sigtimedwait = 177, SYS_rt_sigqueueinfo = 178, SYS_rt_sigsuspend = 179, SYS_pread64 = 180,
	SYS_pwrite64 = 181, SYS_getcwd = 183, SYS_sigaltstack = 186, SYS_getrlimit = 191, SYS_getuid = 199,
	SYS_getdents64 = 220, SYS_gettid = 236, SYS_futex = 238, SYS_tgkill = 241, SYS_epoll_create1 = 327,
	SYS_epoll_ctl = 250, SYS_epoll_wait = 251, SYS_set_tid_address = 252, SYS_clock_gettime = 260,
	SYS_clock_getres = 261, SYS_clock_nanosleep = 262, SYS_exit_group = 248, SYS_statfs64 = 265, SYS_waitid = 281,
	SYS_openat = 288, SYS_utimensat = 315, SYS_timerfd_create = 319, SYS_timerfd_settime = 320,
	SYS_timerfd_gettime = 321, SYS_eventfd2 = 323, SYS_pipe2 = 325, SYS_prlimit64 = 334, SYS_getrandom = 349,
	SYS_socketpair = 360, SYS_statx = 379, SYS_getrusage = 77, SYS_sched_getaffinity = 240, SYS_madvise = 219,
	SYS_mincore = 218, SYS_setrlimit = 75,
};

enum {
	EINTR = 4, EAGAIN = 11, ENOENT = 2,
	O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_CREAT = 0100, O_EXCL = 0200, O_TRUNC = 01000, O_APPEND = 02000,
	O_NONBLOCK = 04000, O_DIRECTORY = 0200000, O_CLOEXEC = 02000000, AT_FDCWD = -100, AT_SYMLINK_NOFOLLOW = 0x100,
	PROT_NONE = 0, PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4,
	MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_FIXED = 16, MAP_ANONYMOUS = 32, MREMAP_MAYMOVE = 1, PAGE_SIZE = 4096,
	SIGINT = 2, SIGILL = 4, SIGTRAP = 5, SIGABRT = 6, SIGBUS = 7, SIGFPE = 8, SIGKILL = 9, SIGUSR1 = 10, SIGSEGV = 11,
	SIGUSR2 = 12, SIGPIPE = 13, SIGALRM = 14, SIGTERM = 15, SIGCHLD = 17, SIGCONT = 18, SIGSTOP = 19,
	SIG_BLOCK = 0, SIG_UNBLOCK = 1, SIG_SETMASK = 2,
	SA_NOCLDSTOP = 1, SA_SIGINFO = 4, SA_ONSTACK = 0x08000000, SA_RESTART = 0x10000000, SA_NODEFER = 0x40000000,
	WNOHANG = 1, WUNTRACED = 2, WCONTINUED = 8, WEXITED = 4, WNOWAIT = 0x01000000,
	FUTEX_WAIT = 0, FUTEX_WAKE = 1,
	CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1,
	CLONE_VM = 0x100, CLONE_FS = 0x200, CLONE_FILES = 0x400, CLONE_SIGHAND = 0x800, CLONE_THREAD = 0x10000,
	CLONE_SYSVSEM = 0x40000, CLONE_SETTLS = 0x80000, CLONE_PARENT_SETTID = 0x100000, CLONE_CHILD_CLEARTID = 0x200000,
};

struct timespec { int64_t seconds, nanoseconds; };
struct timeval { int64_t seconds, microseconds; };
struct iovec { void *base; size_t length; };

struct stat {
	uint64_t dev, ino, nlink;
	uint32_t mode, uid, gid, pad;
	uint64_t rdev, size, atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns;
	int64_t blksize, blocks;
	uint64_t unused[3];
};

struct sigaction {
	void (*handler)(int, void *, void *);
	uint64_t flags;
	void (*restorer)(void);
	uint64_t mask;
};

struct siginfo {
	int32_t signo, errno_, code, pad;
	union {
		struct { int32_t pid; uint32_t uid; int32_t status, pad; int64_t utime, stime; } child;
		struct { int32_t pid; uint32_t uid; uint64_t value; } sent;
		uint64_t address;
		uint64_t rest[14];
	};
};

/* The program. */
int main(int argc, char **argv, char **environment);

/* start.S */
long start_thread(void *stack, unsigned long flags, int *parent_tid, int *child_tid, unsigned long tls);

/* common.c */
long system_call(long number, ...);                     /* the result, or an error number below zero */
void *map_memory(void *address, size_t size, long protection, long flags, long descriptor, long offset);
_Noreturn void leave(int status);
void print(const char *format, ...);                    /* %s %c %d %u %x %o %p, and %Nx for N digits; to standard output */
void dump(const char *name, const void *data, size_t size); /* bytes in hexadecimal, 32 a line */
size_t length_of(const char *text);
int equal(const char *one, const char *other);
long number_in(const char *text);                       /* decimal */
int wait_for(long pid);                                 /* a status as wait4 gives it */
void handle(int number, void (*handler)(int, void *, void *), uint64_t flags);
extern uint64_t *auxiliary_vector;                      /* pairs of type and value */

#endif

/* What the agent uses of Linux, on s390x and x86_64, without a C library. Numbers and structures: include/uapi. */
#ifndef SYSTEM_H
#define SYSTEM_H

#include <stddef.h>
#include <stdint.h>

#if defined(__s390x__)
enum {
	SYS_fork = 2, SYS_read = 3, SYS_write = 4, SYS_open = 5, SYS_close = 6, SYS_execve = 11, SYS_chdir = 12,
	SYS_kill = 37, SYS_chroot = 61, SYS_dup2 = 63, SYS_setsid = 66, SYS_mmap = 90, SYS_wait4 = 114, SYS_poll = 168,
	SYS_pause = 29, SYS_exit_group = 248, SYS_clock_gettime = 260, SYS_statx = 379, SYS_pipe2 = 325,
	SYS_reboot = 88, SYS_sync = 36, SYS_ioctl = 54, SYS_fcntl = 55, SYS_rt_sigprocmask = 175, SYS_signalfd4 = 322,
	SYS_munmap = 91, SYS_pread64 = 180, SYS_getdents64 = 220,
};
#elif defined(__x86_64__)
enum {
	SYS_fork = 57, SYS_read = 0, SYS_write = 1, SYS_open = 2, SYS_close = 3, SYS_execve = 59, SYS_chdir = 80,
	SYS_kill = 62, SYS_chroot = 161, SYS_dup2 = 33, SYS_setsid = 112, SYS_mmap = 9, SYS_wait4 = 61, SYS_poll = 7,
	SYS_pause = 34, SYS_exit_group = 231, SYS_clock_gettime = 228, SYS_statx = 332, SYS_pipe2 = 293,
	SYS_reboot = 169, SYS_sync = 162, SYS_ioctl = 16, SYS_fcntl = 72, SYS_rt_sigprocmask = 14, SYS_signalfd4 = 289,
	SYS_munmap = 11, SYS_pread64 = 17, SYS_getdents64 = 217,
};
#else
#error "which architecture is this?"
#endif

enum {
	ENOENT = 2, EINTR = 4, EACCES = 13, O_RDONLY = 0, O_RDWR = 2, O_CLOEXEC = 02000000, POLLIN = 1, POLLHUP = 16,
	PROT_READ = 1, PROT_WRITE = 2, MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_ANONYMOUS = 0x20, MAP_NORESERVE = 0x4000, SIGKILL = 9, WNOHANG = 1, CLOCK_MONOTONIC = 1,
	EAGAIN = 11, O_NOCTTY = 0400, O_NONBLOCK = 04000, POLLOUT = 4, F_SETFL = 4, SIGPIPE = 13, SIGCHLD = 17, SIG_SETMASK = 2,
	TIOCSCTTY = 0x540e, TIOCSWINSZ = 0x5414, TIOCGPTPEER = 0x5441, TIOCSPTLCK = 0x40045431,
	AT_FDCWD = -100, STATX_BASIC_STATS = 0x7ff, S_IFMT = 0170000, S_IFREG = 0100000,
};

struct pollfd { int32_t descriptor; int16_t events, revents; };
struct timespec { int64_t seconds, nanoseconds; };
struct statx {
	uint32_t mask, block_size; uint64_t attributes; uint32_t links, uid, gid; uint16_t mode, pad;
	uint64_t inode, size, blocks, attributes_mask; uint64_t times[8];
	uint32_t device_major, device_minor, volume_major, volume_minor; uint64_t rest[14];
};

/* The program. */
int main(int argc, char **argv);

/* system.c: the result, or an error number below zero. */
long system_call(long number, long a, long b, long c, long d, long e, long f);

/* What the compiler may call. */
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);

static inline long call3(long number, long a, long b, long c) { return system_call(number, a, b, c, 0, 0, 0); }

#endif

/* Opens places and files without names, changes what has lost its name, sets times, and prints what is returned. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
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
	struct stat found;

	if (fstat(file, &found)) {
		say(what, -1);
		return;
	}
	printf("%s: mode %o links %d size %ld owner %d:%d\n", what, found.st_mode, (int)found.st_nlink,
	       S_ISDIR(found.st_mode) ? 0L : (long)found.st_size, found.st_uid == getuid() ? 0 : (int)found.st_uid,
	       found.st_gid == getgid() ? 0 : (int)found.st_gid);
}

static void places(void)
{
	int file = open("file", O_RDWR | O_CREAT, 0640), place, directory, again;
	struct pollfd polled = { -1, POLLIN, 0 };
	struct statfs system;
	char text[16] = "";

	say("write", write(file, "content", 7));
	close(file);
	mkdir("directory", 0700);
	symlink("file", "link");
	place = open("file", O_PATH);
	show("place", place);
	printf("flags %o\n", fcntl(place, F_GETFL));
	say("read", read(place, text, 1));
	say("write", write(place, text, 1));
	say("seek", lseek(place, 0, SEEK_SET));
	say("truncate", ftruncate(place, 0));
	say("chmod", fchmod(place, 0600));
	say("chown", fchown(place, -1, -1));
	say("times", futimens(place, NULL));
	say("sync", fsync(place));
	say("lock", flock(place, LOCK_SH));
	say("attribute", fgetxattr(place, "user.x", text, 16));
	printf("mmap %d\n", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, place, 0) == MAP_FAILED ? errno : 0);
	say("set flags", fcntl(place, F_SETFL, O_NONBLOCK));
	say("statfs", fstatfs(place, &system));
	polled.fd = place;
	say("poll", poll(&polled, 1, 0));
	printf("  events %#x\n", polled.revents);
	again = dup(place);
	show("duplicate", again);
	close(again);
	say("closed on exec", fcntl(place, F_SETFD, FD_CLOEXEC));
	say("mark", fcntl(place, F_GETFD));
	say("owner by the place", fchownat(place, "", -1, -1, AT_EMPTY_PATH));
	say("name by the place", linkat(place, "", AT_FDCWD, "second", AT_EMPTY_PATH));
	show("two names", place);
	snprintf(text, sizeof(text), "/dev/fd/%d", place);
	again = open(text, O_RDONLY);
	say("open anew", read(again, text, 7));
	printf("  %.7s\n", text);
	close(again);
	unlink("file");
	unlink("second");
	show("without names", place);
	close(place);
	place = open("link", O_PATH | O_NOFOLLOW);
	show("link", place);
	say("reads", readlinkat(place, "", text, 16));
	close(place);
	say("dead link", open("link", O_PATH));
	directory = open("directory", O_PATH | O_DIRECTORY | O_RDWR | O_CREAT);
	show("directory", directory);
	file = openat(directory, "inside", O_WRONLY | O_CREAT, 0600);
	show("inside", file);
	close(file);
	say("change to it", fchdir(directory));
	say("back", chdir(".."));
	close(directory);
	say("no directory", open("link", O_PATH | O_DIRECTORY | O_NOFOLLOW));
}

static void unnamed(void)
{
	int file = open(".", O_TMPFILE | O_RDWR, 0666), again;
	char text[64] = "";

	show("unnamed", file);
	say("write", write(file, "content", 7));
	say("exists not", access("named", F_OK));
	snprintf(text, sizeof(text), "/proc/self/fd/%d", file);
	say("name", linkat(AT_FDCWD, text, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	show("named", file);
	say("again", linkat(AT_FDCWD, text, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	say("another", linkat(AT_FDCWD, text, AT_FDCWD, "twice", AT_SYMLINK_FOLLOW));
	close(file);
	again = open("named", O_RDONLY);
	say("read", read(again, text, 16));
	show("named", again);
	close(again);
	unlink("named");
	unlink("twice");
	file = open(".", O_TMPFILE | O_WRONLY | O_EXCL, 0600);
	snprintf(text, sizeof(text), "/proc/self/fd/%d", file);
	say("never named", linkat(AT_FDCWD, text, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	close(file);
	file = open("gone", O_RDWR | O_CREAT, 0600);
	unlink("gone");
	snprintf(text, sizeof(text), "/proc/self/fd/%d", file);
	say("not revived", linkat(AT_FDCWD, text, AT_FDCWD, "gone", AT_SYMLINK_FOLLOW));
	close(file);
	say("for reading", open(".", O_TMPFILE | O_RDONLY, 0600));
	say("in a file", open("/proc/self/exe", O_TMPFILE | O_RDWR, 0600));
	say("nowhere", open("nosuch", O_TMPFILE | O_RDWR, 0600));
}

static void nameless(void)
{
	int file = open("nameless", O_RDWR | O_CREAT, 0600);
	struct timespec times[2] = { { 1000, 123456789 }, { 2000, 987654321 } };
	struct stat found;

	unlink("nameless");
	file = file + 0;
	close(open("nameless", O_RDWR | O_CREAT, 0604)); /* another one of its name */
	say("chmod", fchmod(file, 0640));
	say("chown", fchown(file, getuid(), getgid()));
	say("times", futimens(file, times));
	show("changed", file);
	fstat(file, &found);
	printf("times %ld %ld\n", (long)found.st_atime, (long)found.st_mtime);
	stat("nameless", &found);
	printf("the other %o %d\n", found.st_mode, found.st_mtime == 2000);
	unlink("nameless");
	close(file);
}

static void times(void)
{
	int file = open("times", O_RDWR | O_CREAT, 0600);
	struct timespec set[2] = { { 1000, 123456789 }, { 2000, 987654321 } };
	struct stat found;
	struct statx more;
	char byte;

	say("set", futimens(file, set));
	fstat(file, &found);
	printf("%ld.%09ld %ld.%09ld\n", (long)found.st_atim.tv_sec, found.st_atim.tv_nsec, (long)found.st_mtim.tv_sec,
	       found.st_mtim.tv_nsec);
	statx(AT_FDCWD, "times", 0, STATX_BASIC_STATS, &more);
	printf("%d.%09u %d.%09u\n", (int)more.stx_atime.tv_sec, more.stx_atime.tv_nsec, (int)more.stx_mtime.tv_sec,
	       more.stx_mtime.tv_nsec);
	set[0].tv_nsec = UTIME_OMIT;
	set[1].tv_nsec = 1;
	say("set one", utimensat(AT_FDCWD, "times", set, 0));
	set[1].tv_nsec = UTIME_OMIT;
	say("set none", utimensat(AT_FDCWD, "times", set, 0));
	set[1].tv_nsec = 1000000000;
	say("too many", utimensat(AT_FDCWD, "times", set, 0));
	fstat(file, &found);
	printf("%ld.%09ld %ld.%09ld\n", (long)found.st_atim.tv_sec, found.st_atim.tv_nsec, (long)found.st_mtim.tv_sec,
	       found.st_mtim.tv_nsec);
	set[0] = found.st_mtim;
	say("write", write(file, "x", 1));
	fstat(file, &found);
	printf("later %d\n", found.st_mtim.tv_sec > set[0].tv_sec && found.st_mtim.tv_sec == found.st_ctim.tv_sec &&
	       found.st_mtim.tv_nsec == found.st_ctim.tv_nsec);
	say("read", pread(file, &byte, 1, 0));
	fstat(file, &found);
	printf("read %d\n", found.st_atim.tv_sec > 1000);
	close(file);
	unlink("times");
}

static void in_memory(void)
{
	char link[64] = "", text[8] = "";
	struct stat found;
	int file = memfd_create("name", MFD_CLOEXEC), other;
	char *mapped;

	say("made", file >= 0);
	fstat(file, &found);
	printf("mode %o links %d size %d flags %d\n", found.st_mode, (int)found.st_nlink, (int)found.st_size,
	       fcntl(file, F_GETFD));
	say("write", write(file, "written", 7));
	say("longer", ftruncate(file, 10000));
	mapped = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	memcpy(mapped, "stored!", 7);
	mapped[9999] = 'x';
	say("read", pread(file, text, 7, 0));
	say("read", pread(file, text + 7, 1, 9999));
	printf("%.8s\n", text);
	sprintf(text, "%d", file);
	chdir("/proc/self/fd");
	say("link", readlink(text, link, sizeof(link) - 1));
	printf("%s\n", link);
	other = open(text, O_RDWR);
	say("opened again", pread(other, link, 3, 0));
	chdir("/tmp");
	say("give it a name", linkat(file, "", AT_FDCWD, "named", AT_EMPTY_PATH));
	say("empty name", memfd_create("", 0) >= 0);
	say("flags", memfd_create("x", 0x1000));
	say("long name", memfd_create(memset(malloc(300), 'x', 299), 0));
}

int main(void)
{
	umask(022);
	places();
	unnamed();
	nameless();
	times();
	in_memory();
	return 0;
}

/* Watches a directory and files, does everything to them, and prints the events. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <dirent.h>
#include <unistd.h>

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
	fflush(stdout);
}

static void events(const char *what, int watcher)
{
	static char buffer[8192] __attribute__((aligned(8)));
	struct inotify_event *each;
	static unsigned first;
	long size = read(watcher, buffer, sizeof(buffer));

	printf("%s:\n", what);
	if (size < 0)
		printf("  %s\n", strerror(errno));
	for (long at = 0; at < size; at += sizeof(*each) + each->len) {
		each = (void *)(buffer + at);
		if (each->cookie && !first)
			first = each->cookie;
		printf("  watch %d mask %#x name %s of %u moved %u\n", each->wd, each->mask, each->len ? each->name : "-", each->len,
		       each->cookie ? each->cookie - first + 1 : 0);
	}
	fflush(stdout);
}

int main(void)
{
	int watcher = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), file, size, directory_watch, file_watch;
	struct pollfd polled = { watcher, POLLIN, 0 };
	struct timespec times[2] = { { 1000, 0 }, { 0, UTIME_OMIT } };
	char text[100];
	DIR *listing;

	umask(022);
	mkdir("d", 0755);
	say("watch", directory_watch = inotify_add_watch(watcher, "d", IN_ALL_EVENTS));
	say("poll", poll(&polled, 1, 0));
	events("nothing", watcher);
	file = open("d/file", O_RDWR | O_CREAT, 0644);
	say("poll", poll(&polled, 1, 0));
	say("available", ioctl(watcher, FIONREAD, &size));
	printf("  %d\n", size);
	say("too small", read(watcher, text, 20));
	events("made", watcher);
	say("watch the file", file_watch = inotify_add_watch(watcher, "d/file", IN_ALL_EVENTS));
	say("write", write(file, "content", 7));
	say("write", write(file, "content", 7));
	say("read", pread(file, text, 7, 0));
	events("written and read", watcher);
	ftruncate(file, 3);
	fchmod(file, 0600);
	futimens(file, times);
	close(file);
	events("changed and closed", watcher);
	close(open("d/file", O_WRONLY | O_TRUNC));
	close(open("d/file", O_RDONLY));
	truncate("d/file", 10);
	chmod("d/file", 0640);
	events("by name", watcher);
	link("d/file", "d/second");
	symlink("file", "d/link");
	mkdir("d/inside", 0700);
	mknod("d/fifo", S_IFIFO | 0600, 0);
	events("names", watcher);
	rename("d/second", "d/third");
	rename("d/third", "outside");
	rename("outside", "d/back");
	events("moved", watcher);
	unlink("d/back");
	rename("d/link", "d/fifo");
	rmdir("d/inside");
	events("removed", watcher);
	listing = opendir("d");
	while (readdir(listing))
		;
	closedir(listing);
	events("listed", watcher);
	file = open("d/file", O_RDONLY);
	unlink("d/file");
	events("unlinked while open", watcher);
	close(file);
	events("closed", watcher);
	say("gone", inotify_rm_watch(watcher, file_watch));
	say("fewer", inotify_add_watch(watcher, "d", IN_CREATE) == directory_watch);
	say("added", inotify_add_watch(watcher, "d", IN_DELETE | IN_MASK_ADD) == directory_watch);
	say("only new ones", inotify_add_watch(watcher, "d", IN_DELETE | IN_MASK_CREATE));
	close(open("d/new", O_CREAT | O_WRONLY, 0600));
	unlink("d/new");
	events("made and removed", watcher);
	say("once", inotify_add_watch(watcher, "d", IN_CREATE | IN_ONESHOT) == directory_watch);
	close(open("d/one", O_CREAT | O_WRONLY, 0600));
	close(open("d/two", O_CREAT | O_WRONLY, 0600));
	events("once", watcher);
	say("only directories", inotify_add_watch(watcher, "d/one", IN_CREATE | IN_ONLYDIR));
	say("no events", inotify_add_watch(watcher, "d", 0));
	say("nowhere", inotify_add_watch(watcher, "nosuch", IN_OPEN));
	say("no inotify", inotify_add_watch(0, "d", IN_OPEN));
	say("no watch", inotify_rm_watch(watcher, 99));
	unlink("d/one");
	unlink("d/two");
	unlink("d/fifo");
	say("the directory itself", inotify_add_watch(watcher, "d", IN_ALL_EVENTS) > directory_watch);
	rename("d", "e");
	rmdir("e");
	events("the directory is gone", watcher);
	fcntl(watcher, F_SETFL, 0);
	inotify_add_watch(watcher, ".", IN_CREATE);
	fflush(stdout);
	if (!fork()) {
		mkdir("by-a-child", 0700);
		_exit(0);
	}
	events("waited for", watcher);
	wait(NULL);
	rmdir("by-a-child");
	close(watcher);
	return 0;
}

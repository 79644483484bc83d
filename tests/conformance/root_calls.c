/* Takes other directories as the root, and prints what is found then. Root runs it. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

static void make(const char *name)
{
	close(open(name, O_WRONLY | O_CREAT, 0644));
}

static void is_there(const char *name)
{
	say(name, access(name, F_OK));
}

static void where(void)
{
	char path[4096];

	say("getcwd", syscall(SYS_getcwd, path, sizeof(path)) > 0);
	printf("  %.13s\n", path);
}

int main(void)
{
	int outside, status;
	char link[100];

	mkdir("root", 0755);
	mkdir("root/dir", 0755);
	make("root/dir/file");
	make("root/top");
	make("outside");
	(void)!symlink("/top", "root/dir/absolute");
	(void)!symlink("../../../top", "root/dir/relative");
	say("chroot to nothing", chroot("nosuch"));
	say("chroot to a file", chroot("outside"));
	outside = open(".", O_RDONLY | O_DIRECTORY);
	say("chroot", chroot("root"));
	where(); /* the working directory is outside */
	is_there("outside");
	is_there("/dir/file");
	say("chdir", chdir("/dir"));
	where();
	is_there("absolute");
	is_there("relative");
	is_there("../top");
	is_there("../../top");
	is_there("../../outside");
	say("mkdir", mkdir("/made", 0755));
	say("rename", rename("/made", "/dir/made"));
	say("rmdir", rmdir("made"));
	say("readlink", readlink("/dir/absolute", link, sizeof(link)));
	fflush(stdout);
	if (fork() == 0) {
		is_there("/top");
		say("chroot", chroot("/dir"));
		is_there("/file");
		say("chdir", chdir(".."));
		where();
		say("leave", fchdir(outside));
		is_there("outside");
		say("setuid", setuid(7));
		say("chroot", chroot("."));
		_exit(0);
	}
	wait(&status);
	say("status", status);
	is_there("/dir/file");
	say("fchdir", fchdir(outside));
	say("chroot to outside", chroot("."));
	is_there("/outside");
	unlink("root/dir/file");
	unlink("root/dir/absolute");
	unlink("root/dir/relative");
	unlink("root/top");
	unlink("outside");
	rmdir("root/dir");
	say("rmdir", rmdir("root"));
	return 0;
}

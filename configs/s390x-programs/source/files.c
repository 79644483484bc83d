/* files DIRECTORY: make, write, rename, link and remove files there, and print what each call says. */
#include "system.h"

static void say(const char *name, long result)
{
	print("%s %d\n", name, result);
}

static long size_of(const char *name)
{
	struct stat stat;
	long error = system_call(SYS_lstat, name, &stat);

	return error ? error : (long)stat.size;
}

int main(int argc, char **argv, char **environment)
{
	static char buffer[64];
	struct iovec out[2] = {{"scattered ", 10}, {"words", 5}}, in[2] = {{buffer, 4}, {buffer + 8, 20}};
	long file, other;

	if (argc < 2 || system_call(SYS_chdir, argv[1]) < 0)
		return 2;
	system_call(SYS_umask, 027L);
	say("mkdir", system_call(SYS_mkdir, "d", 0777L));
	say("mkdir again", system_call(SYS_mkdir, "d", 0777L));
	file = system_call(SYS_open, "d/one", (long)(O_RDWR | O_CREAT | O_EXCL), 0666L);
	say("made", file >= 0);
	say("made again", system_call(SYS_open, "d/one", (long)(O_RDWR | O_CREAT | O_EXCL), 0666L));
	say("writev", system_call(SYS_writev, file, out, 2L));
	say("pwrite beyond the end", system_call(SYS_pwrite64, file, "end", 3L, 100L));
	say("lseek to a hole", system_call(SYS_lseek, file, 0L, 4L));
	say("lseek", system_call(SYS_lseek, file, 4L, 0L));
	say("readv", system_call(SYS_readv, file, in, 2L));
	print("%s|%s\n", buffer, buffer + 8);
	say("pread", system_call(SYS_pread64, file, buffer, 10L, 99L));
	say("ftruncate", system_call(SYS_ftruncate, file, 9L));
	other = system_call(SYS_open, "d/one", (long)(O_WRONLY | O_APPEND), 0L);
	say("append", system_call(SYS_write, other, "!", 1L));
	say("size", size_of("d/one"));
	say("read from one to write", system_call(SYS_read, other, buffer, 1L));
	say("symlink", system_call(SYS_symlink, "d/one", "s"));
	buffer[system_call(SYS_readlink, "s", buffer, sizeof buffer - 1)] = 0;
	say(buffer, size_of("s"));
	say("link", system_call(SYS_link, "d/one", "two"));
	say("link to nothing", system_call(SYS_link, "nothing", "three"));
	say("rename", system_call(SYS_rename, "two", "d/one"));
	say("rename a directory over a file", system_call(SYS_rename, "d", "s"));
	say("rmdir, not empty", system_call(SYS_rmdir, "d"));
	say("unlink a directory", system_call(SYS_unlink, "d") != 0);
	say("unlink", system_call(SYS_unlink, "d/one"));
	say("still linked", size_of("two"));
	say("rmdir", system_call(SYS_rmdir, "d"));
	say("through the broken link", system_call(SYS_access, "s", 0L));
	say("unlink link", system_call(SYS_unlink, "s"));
	say("unlink last name", system_call(SYS_unlink, "two"));
	say("read what has no name", system_call(SYS_pread64, file, buffer, 5L, 0L));
	say("close", system_call(SYS_close, file));
	say("close again", system_call(SYS_close, file));
	return 0;
}

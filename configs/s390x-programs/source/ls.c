/* ls [DIRECTORY]: print type, mode, size and name of each entry, in the directory's order. */
#include "system.h"

struct dirent { uint64_t ino, off; uint16_t length; uint8_t type; char name[]; };

int main(int argc, char **argv, char **environment)
{
	static char buffer[2048] __attribute__((aligned(8)));
	const char *directory = argc > 1 ? argv[1] : ".";
	long descriptor = system_call(SYS_open, directory, (long)(O_RDONLY | O_DIRECTORY), 0L);
	long got;

	if (descriptor < 0 || system_call(SYS_chdir, directory) < 0) {
		print("ls: %s: error %d\n", directory, -descriptor);
		return 2;
	}
	while ((got = system_call(SYS_getdents64, descriptor, buffer, sizeof buffer)) > 0)
		for (long at = 0; at < got;) {
			struct dirent *entry = (struct dirent *)(buffer + at);
			struct stat stat;

			at += entry->length;
			if (!equal(entry->name, ".") && !equal(entry->name, "..") && !system_call(SYS_lstat, entry->name, &stat))
				print("%2d %6o %d %s\n", entry->type, stat.mode, stat.size, entry->name);
		}
	return got < 0;
}

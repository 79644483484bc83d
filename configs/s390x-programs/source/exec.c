/* exec PROGRAM WORD...: run a program in this one's place, with an environment of one entry and one descriptor closed. */
#include "system.h"

int main(int argc, char **argv, char **environment)
{
	static char *one[] = {"FROM=exec", 0};
	long result;

	if (argc < 2)
		return 2;
	system_call(SYS_open, "/bin/hello", (long)(O_RDONLY | O_CLOEXEC), 0L);
	result = system_call(SYS_execve, argv[1], argv + 1, one);
	print("exec: %s: error %d\n", argv[1], -result);
	return result == -ENOENT ? 127 : 126;
}

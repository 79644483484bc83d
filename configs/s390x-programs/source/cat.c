/* cat FILE...: copy files, or standard input, to standard output. */
#include "system.h"

static int copy(long descriptor, const char *name)
{
	static char buffer[4096];
	long got;

	while ((got = system_call(SYS_read, descriptor, buffer, sizeof buffer)) > 0)
		for (long done = 0; done < got;) {
			long written = system_call(SYS_write, 1L, buffer + done, got - done);

			if (written < 0)
				return 1;
			done += written;
		}
	if (got < 0)
		print("cat: %s: error %d\n", name, -got);
	return got < 0;
}

int main(int argc, char **argv, char **environment)
{
	int status = 0;

	if (argc == 1)
		return copy(0, "standard input");
	for (int index = 1; index < argc; index++) {
		long descriptor = system_call(SYS_open, argv[index], (long)O_RDONLY, 0L);

		if (descriptor < 0) {
			print("cat: %s: error %d\n", argv[index], -descriptor);
			status = 1;
			continue;
		}
		status |= copy(descriptor, argv[index]);
		system_call(SYS_close, descriptor);
	}
	return status;
}

/* sleep SECONDS: wait. */
#include "system.h"

int main(int argc, char **argv, char **environment)
{
	struct timespec time = {argc > 1 ? number_in(argv[1]) : 0, 0};

	return system_call(SYS_nanosleep, &time, 0L) != 0;
}

/* exit STATUS, or exit -N: end with a status, or by signal N. */
#include "system.h"

int main(int argc, char **argv, char **environment)
{
	if (argc < 2)
		return 0;
	if (argv[1][0] == '-')
		system_call(SYS_kill, system_call(SYS_getpid), number_in(argv[1] + 1));
	return number_in(argv[1]);
}

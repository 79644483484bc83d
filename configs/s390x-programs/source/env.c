/* env: print the environment. */
#include "system.h"

int main(int argc, char **argv, char **environment)
{
	for (; *environment; environment++)
		print("%s\n", *environment);
	return 0;
}

/* hello: say so. hello-pie is the same as a static PIE. */
#include "system.h"

static const char *const greeting[] = {"Hello", "from", "s390x"}; /* addresses: a PIE has to relocate them */

int main(int argc, char **argv, char **environment)
{
	print("%s, %s %s!\n", greeting[0], greeting[1], greeting[2]);
	return 0;
}

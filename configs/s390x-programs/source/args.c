/* args WORD...: print each argument on a line of its own, from 0 on. */
#include "system.h"

int main(int argc, char **argv, char **environment)
{
	for (int index = 0; index < argc; index++)
		print("%d: %s\n", index, argv[index]);
	return 0;
}

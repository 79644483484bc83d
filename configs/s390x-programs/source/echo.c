/* echo WORD...: print the words. */
#include "system.h"

int main(int argc, char **argv, char **environment)
{
	for (int index = 1; index < argc; index++)
		print(index + 1 < argc ? "%s " : "%s", argv[index]);
	print("\n");
	return 0;
}

/* loop: never end. */
#include "system.h"

int main(int argc, char **argv, char **environment)
{
	print("looping\n");
	for (;;)
		__asm__ volatile("");
}

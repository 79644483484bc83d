/* auxv: print the auxiliary vector: what the kernel says of itself and the program. */
#include "system.h"

enum { AT_PLATFORM = 15, AT_RANDOM = 25, AT_EXECFN = 31 };

static const struct { uint64_t type; const char *name; int shown; } names[] = {
	{3, "PHDR", 0}, {4, "PHENT", 1}, {5, "PHNUM", 1}, {6, "PAGESZ", 1}, {7, "BASE", 1}, {8, "FLAGS", 1}, {9, "ENTRY", 0},
	{11, "UID", 1}, {12, "EUID", 1}, {13, "GID", 1}, {14, "EGID", 1}, {15, "PLATFORM", 1}, {16, "HWCAP", 1},
	{17, "CLKTCK", 1}, {23, "SECURE", 1}, {25, "RANDOM", 1}, {31, "EXECFN", 1},
};

/* auxv NAME prints this entry alone; values of PHDR and ENTRY are printed only so. */
int main(int argc, char **argv, char **environment)
{
	for (uint64_t *entry = auxiliary_vector; entry[0]; entry += 2)
		for (size_t index = 0; index < sizeof names / sizeof *names; index++) {
			if (names[index].type != entry[0] || (argc > 1 && !equal(argv[1], names[index].name)))
				continue;
			print("%s ", names[index].name);
			if (entry[0] == AT_PLATFORM || entry[0] == AT_EXECFN)
				print("%s\n", (char *)entry[1]);
			else if (entry[0] == AT_RANDOM)
				print("bytes that differ %d\n", ((uint64_t *)entry[1])[0] != ((uint64_t *)entry[1])[1]);
			else if (names[index].shown || argc > 1)
				print("%x\n", entry[1]);
			else
				print("\n");
		}
	return 0;
}

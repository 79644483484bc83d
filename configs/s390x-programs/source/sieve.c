/* sieve [N]: count the primes below N: loads and stores. */
#include "system.h"

int main(int argc, char **argv, char **environment)
{
	long limit = argc > 1 ? number_in(argv[1]) : 10000, count = 0;
	char *composite = map_memory(0, limit + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (long number = 2; number < limit; number++) {
		if (composite[number])
			continue;
		count++;
		for (long multiple = number * number; multiple < limit; multiple += number)
			composite[multiple] = 1;
	}
	print("%d\n", count);
	return 0;
}

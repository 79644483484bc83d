/* compute WHAT [N]: do N rounds of work for the processor alone, to measure it: float (a Mandelbrot series), memory (copies and
   sums of 64 KiB), calls (functions by their addresses, which call others). */
#include "system.h"

#define WORDS 8192
static uint64_t here[WORDS], there[WORDS];

static long in_floating_point(long count)
{
	long inside = 0;

	for (long point = 0; point < count; point++) {
		double across = (point % 64) / 32.0 - 1.5, up = (point / 64 % 64) / 32.0 - 1, x = 0, y = 0;
		int left = 100;

		while (left && x * x + y * y < 4) {
			double next = x * x - y * y + across;

			y = 2 * x * y + up;
			x = next;
			left--;
		}
		inside += !left;
	}
	return inside;
}

static long in_memory(long count)
{
	long sum = 0;

	for (long round = 0; round < count; round++) {
		for (long at = 0; at < WORDS; at += 32)
			__builtin_memcpy(&there[at], &here[WORDS - 32 - at], 256);
		for (long at = 0; at < WORDS; at++)
			sum += here[at] = there[at * 17 % WORDS] + round;
	}
	return sum;
}

typedef long function(long);
static function left_half, right_half;
static function *volatile functions[2] = {left_half, right_half};

static long left_half(long depth)
{
	return depth ? functions[1](depth - 1) + functions[0](depth - 1) : 1;
}

static long right_half(long depth)
{
	return depth ? functions[0](depth - 1) + functions[1](depth - 1) : 2;
}

static long in_calls(long count)
{
	long sum = 0;

	while (count--)
		sum += functions[count & 1](10);
	return sum;
}

int main(int argc, char **argv, char **environment)
{
	long count = argc > 2 ? number_in(argv[2]) : 1, result = 0;

	if (argc < 2)
		return 2;
	if (equal(argv[1], "float"))
		result = in_floating_point(count);
	if (equal(argv[1], "memory"))
		result = in_memory(count);
	if (equal(argv[1], "calls"))
		result = in_calls(count);
	print("%s %d\n", argv[1], result);
	return 0;
}

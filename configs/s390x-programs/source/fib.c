/* fib [N]: the Nth Fibonacci number by recursion: calls and branches. */
#include "system.h"

__attribute__((noinline)) static long fib(long n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int main(int argc, char **argv, char **environment)
{
	print("%d\n", fib(argc > 1 ? number_in(argv[1]) : 20));
	return 0;
}

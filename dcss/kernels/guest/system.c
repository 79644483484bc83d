/* Where the agent begins, and system calls. */
#include "system.h"

#if defined(__s390x__)
__asm__(
	"\t.text\n\t.globl _start\n_start:\n"
	"\tlgr %r2, %r15\n\taghi %r15, -160\n\txc 0(8,%r15), 0(%r15)\n\tbrasl %r14, start\n");

/* Old calls with more than five arguments take the address of all of them (arch/s390/kernel/sys_s390.c). */
long system_call(long number, long a, long b, long c, long d, long e, long f)
{
	long all[6] = { a, b, c, d, e, f };
	register long r1 __asm__("1") = number;
	register long r2 __asm__("2") = number == SYS_mmap ? (long)all : a;
	register long r3 __asm__("3") = b, r4 __asm__("4") = c, r5 __asm__("5") = d, r6 __asm__("6") = e;

	__asm__ volatile("svc 0" : "+d"(r2) : "d"(r1), "d"(r3), "d"(r4), "d"(r5), "d"(r6) : "memory", "cc");
	return r2;
}
#else
__asm__(
	"\t.text\n\t.globl _start\n_start:\n"
	"\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start\n");

long system_call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		: "rcx", "r11", "memory");
	return result;
}
#endif

__attribute__((used)) void start(long *stack)
{
	system_call(SYS_exit_group, main((int)stack[0], (char **)(stack + 1)), 0, 0, 0, 0, 0);
	__builtin_unreachable();
}

void *memcpy(void *to, const void *from, size_t size)
{
	char *put = to;
	const char *take = from;

	while (size--)
		*put++ = *take++;
	return to;
}

void *memset(void *to, int value, size_t size)
{
	char *put = to;

	while (size--)
		*put++ = (char)value;
	return to;
}

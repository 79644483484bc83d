/* memory: mmap, mprotect, munmap, mremap, brk, and what a bad access gives. Linux on s390x knows the page of an address. */
#include "system.h"

static uint64_t base, resume[2];

/* Go on after the access: its address stands in resume[0]. */
static void fault(int number, void *information, void *context)
{
	struct siginfo *info = information;
	uint64_t *psw_address = (uint64_t *)((char *)context + 48);

	print("signal %d si_code %d page %d", number, info->code, (long)(info->address - base) / PAGE_SIZE);
	*psw_address = resume[0];
}

static void try(const char *name, volatile char *address, int store)
{
	long value = 0;

	print("%s: ", name);
	__asm__ volatile("larl %%r1,1f\n\tstg %%r1,0(%2)\n\tltr %3,%3\n\tjz 0f\n\tmvi 0(%1),85\n\tj 1f\n0:\tllgc %0,0(%1)\n1:"
			 : "+d"(value) : "a"(address), "a"(resume), "d"(store) : "1", "memory", "cc");
	print(" (value %d)\n", value);
}

static long protect(char *at, long pages, long protection)
{
	return system_call(SYS_mprotect, at, pages * PAGE_SIZE, protection);
}

int main(int argc, char **argv, char **environment)
{
	char *area = map_memory(0, 8 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *moved;
	long file = system_call(SYS_open, "/bin/hello", (long)O_RDONLY, 0L);

	base = (uint64_t)area;
	handle(SIGSEGV, fault, 0);
	handle(SIGBUS, fault, 0);
	try("fresh page", area, 0);
	area[0] = 1;
	try("written page", area, 0);
	print("mprotect read-only %d\n", protect(area, 1, PROT_READ));
	try("store into a read-only page", area, 1);
	try("load from it", area, 0);
	protect(area, 1, PROT_NONE);
	try("load without permission", area, 0);
	protect(area, 1, PROT_READ | PROT_WRITE);
	try("store again", area, 1);
	print("munmap %d\n", system_call(SYS_munmap, area + 2 * PAGE_SIZE, 2L * PAGE_SIZE));
	try("hole", area + 2 * PAGE_SIZE, 0);
	try("behind the hole", area + 4 * PAGE_SIZE, 0);
	print("mprotect over the hole %d\n", protect(area, 8, PROT_READ));
	try("before the hole, read-only now", area + PAGE_SIZE, 1);
	base = 0;
	try("null pointer", (char *)8, 0);
	area[5 * PAGE_SIZE] = 0;
	base = (uint64_t)area;
	moved = (char *)system_call(SYS_mremap, area, (long)PAGE_SIZE, 3L * PAGE_SIZE, (long)MREMAP_MAYMOVE, 0L);
	print("mremap moved %d keeps %d and adds %d\n", moved != area, moved[0], moved[2 * PAGE_SIZE]);
	print("mremap in place, no room: %d\n", system_call(SYS_mremap, area + 4 * PAGE_SIZE, (long)PAGE_SIZE, 4096L * PAGE_SIZE, 0L, 0L));
	base = (uint64_t)moved;
	area = map_memory(moved, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0);
	print("file mapped over it %d: %c%c%c\n", area == moved, area[1], area[2], area[3]);
	try("store into the file", area, 1);
	protect(area, 1, PROT_READ | PROT_WRITE);
	try("store into a private copy", area, 1);
	area = map_memory(moved + PAGE_SIZE, 2 * PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 256 * PAGE_SIZE);
	try("behind the end of the file", area, 0);
	print("shared and writable, opened to read: %d\n", (long)map_memory(0, PAGE_SIZE, PROT_WRITE, MAP_SHARED, file, 0));
	print("odd address: %d\n", (long)map_memory((char *)1, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0));
	print("length 0: %d\n", (long)map_memory(0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	char *end = (char *)system_call(SYS_brk, 0L);
	char *more = (char *)system_call(SYS_brk, end + 3 * PAGE_SIZE);
	print("brk grows by %d, is zero %d\n", more - end, more[-1]);
	print("brk shrinks %d\n", (char *)system_call(SYS_brk, end) - end);
	return 0;
}

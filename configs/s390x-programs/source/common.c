/* What every program is linked with: its start in C, system calls and printing. */
#include "system.h"

uint64_t *auxiliary_vector;

#ifdef __PIE__
#define RELOCATE 1
#else
#define RELOCATE 0
#endif

/* A static PIE has no loader: it adds its own address to the addresses in its data. */
struct dynamic { uint64_t tag, value; };
struct relocation { uint64_t offset, info, addend; };
extern struct dynamic dynamic_section[] __asm__("_DYNAMIC") __attribute__((visibility("hidden"), weak));
extern char image_start[] __asm__("__ehdr_start") __attribute__((visibility("hidden")));

static void relocate(void)
{
	enum { DT_RELA = 7, DT_RELASZ = 8 };
	uint64_t base = (uint64_t)image_start, table = 0, size = 0;

	for (struct dynamic *entry = dynamic_section; entry->tag; entry++) {
		if (entry->tag == DT_RELA)
			table = base + entry->value;
		if (entry->tag == DT_RELASZ)
			size = entry->value;
	}
	for (struct relocation *each = (void *)table; (uint64_t)each < table + size; each++)
		*(uint64_t *)(base + each->offset) = base + each->addend;
}

__attribute__((visibility("hidden"), used)) void start(long *stack)
{
	long argc = stack[0];
	char **argv = (char **)(stack + 1);
	char **environment = argv + argc + 1, **end = environment;

	if (RELOCATE)
		relocate();
	while (*end)
		end++;
	auxiliary_vector = (uint64_t *)(end + 1);
	leave(main(argc, argv, environment));
}

long system_call(long number, ...)
{
	va_list list;
	register long r1 __asm__("1") = number;
	register long r2 __asm__("2"), r3 __asm__("3"), r4 __asm__("4"), r5 __asm__("5"), r6 __asm__("6"), r7 __asm__("7");

	va_start(list, number);
	r2 = va_arg(list, long);
	r3 = va_arg(list, long);
	r4 = va_arg(list, long);
	r5 = va_arg(list, long);
	r6 = va_arg(list, long);
	r7 = va_arg(list, long);
	va_end(list);
	__asm__ volatile("svc 0" : "+d"(r2) : "d"(r1), "d"(r3), "d"(r4), "d"(r5), "d"(r6), "d"(r7) : "memory", "cc");
	return r2;
}

/* On s390x mmap takes its six arguments in storage. */
void *map_memory(void *address, size_t size, long protection, long flags, long descriptor, long offset)
{
	long arguments[6] = {(long)address, (long)size, protection, flags, descriptor, offset};

	return (void *)system_call(SYS_mmap, arguments);
}

_Noreturn void leave(int status)
{
	for (;;)
		system_call(SYS_exit_group, (long)status);
}

size_t length_of(const char *text)
{
	size_t length = 0;

	while (text[length])
		length++;
	return length;
}

int equal(const char *one, const char *other)
{
	while (*one && *one == *other)
		one++, other++;
	return *one == *other;
}

long number_in(const char *text)
{
	long number = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		number = number * 10 + (*text - '0');
	return number;
}

static char line[512];
static size_t line_length;

static void put(char character)
{
	line[line_length++] = character;
	if (character != '\n' && line_length < sizeof line)
		return;
	for (size_t done = 0; done < line_length;) {
		long written = system_call(SYS_write, 1L, line + done, line_length - done);

		if (written <= 0 && written != -EINTR)
			leave(1);
		done += written > 0 ? written : 0;
	}
	line_length = 0;
}

static void put_number(unsigned long number, unsigned long base, int width)
{
	char digits[64];
	int count = 0;

	do {
		digits[count++] = "0123456789abcdef"[number % base];
		number /= base;
	} while (number || count < width);
	while (count)
		put(digits[--count]);
}

/* A line is one write, so that lines of several processes do not mix. Callers extend every number to 64 bits. */
void print(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	for (; *format; format++) {
		int width = 0;

		if (*format != '%') {
			put(*format);
			continue;
		}
		for (format++; *format >= '0' && *format <= '9'; format++)
			width = width * 10 + (*format - '0');
		long number = va_arg(list, long);
		if (*format == 's') {
			for (const char *text = (const char *)number; *text; text++)
				put(*text);
			continue;
		}
		if (*format == 'd' && number < 0) {
			put('-');
			number = -number;
		}
		if (*format == 'c')
			put(number);
		else
			put_number(number, *format == 'o' ? 8 : *format == 'd' || *format == 'u' ? 10 : 16, width);
	}
	va_end(list);
}

void dump(const char *name, const void *data, size_t size)
{
	const unsigned char *bytes = data;

	print("%s", name);
	for (size_t at = 0; at < size; at++)
		print(at % 32 ? at % 4 ? "%2x" : " %2x" : "\n  %2x", (long)bytes[at]);
	print("\n");
}

int wait_for(long pid)
{
	int status = -1;

	while (system_call(SYS_wait4, pid, &status, 0L, 0L) == -EINTR)
		continue;
	return status;
}

void handle(int number, void (*handler)(int, void *, void *), uint64_t flags)
{
	struct sigaction action = {handler, flags | SA_SIGINFO, 0, 0};

	system_call(SYS_rt_sigaction, (long)number, &action, 0L, sizeof action.mask);
}

/* The compiler calls these. */
void *memset(void *to, int value, size_t size)
{
	for (volatile char *at = to; size; size--)
		*at++ = value;
	return to;
}

void *memcpy(void *to, const void *from, size_t size)
{
	const char *source = from;

	for (volatile char *at = to; size; size--)
		*at++ = *source++;
	return to;
}

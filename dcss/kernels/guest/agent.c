/* The agent in a Linux guest: what the shell of its initramfs cannot do.

   agent map                   map the regular files whose names standard input lists, each ended by NUL and each file
                               once, with all their pages, and leave a process that keeps them mapped
   agent serve PORT ROOT ACCESS STATUS MESSAGE
                               tell the host by PORT how the guest's list of steps ended, then run in ROOT the programs
                               that it sends; ACCESS is a file with the words of its mounts

   PORT is a virtio port. Each packet has its length before it, in four bytes, big-endian; dcss/abi/console.py and
   programs.py of the project describe the packets. */
#include "agent.h"

static uint64_t number_after(const char *text, const char *label)
{
	for (; *text; text++) {
		const char *here = text, *wanted = label;
		uint64_t value = 0;

		while (*wanted && *here == *wanted)
			here++, wanted++;
		if (*wanted)
			continue;
		while (*here == ' ')
			here++;
		while (*here >= '0' && *here <= '9')
			value = value * 10 + (uint64_t)(*here++ - '0');
		return value;
	}
	return 0;
}

/* Memory of the modules that are loaded: the second word of each line of /proc/modules, which a kernel without modules
   has not. */
static uint64_t bytes_of_modules(void)
{
	static char text[4096];
	long descriptor = call3(SYS_open, (long)"/proc/modules", O_RDONLY, 0), size;
	uint64_t sum = 0, value = 0;
	int word = 0;

	if (descriptor < 0)
		return 0;
	while ((size = call3(SYS_read, descriptor, (long)text, sizeof text)) > 0)
		for (long at = 0; at < size; at++)
			if (text[at] == '\n') {
				sum += value;
				value = 0;
				word = 0;
			} else if (text[at] == ' ') {
				word++;
			} else if (word == 1) {
				value = value * 10 + (uint64_t)(text[at] - '0');
			}
	call3(SYS_close, descriptor, 0, 0);
	return sum;
}

/* What the guest counts of itself, in bytes: file pages, buffers, anonymous memory, modules, pages in place, and how
   often its kernel failed. */
static void count_memory(uint64_t counters[COUNTERS])
{
	static char text[16384];
	long descriptor = call3(SYS_open, (long)"/proc/meminfo", O_RDONLY, 0), size = 0, done;
	const long room = sizeof text - 1;

	while (size < room && (done = call3(SYS_read, descriptor, (long)text + size, room - size)) > 0)
		size += done;
	text[size] = 0;
	call3(SYS_close, descriptor, 0, 0);
	uint64_t buffers = number_after(text, "\nBuffers:");
	uint64_t files = number_after(text, "\nActive(file):") + number_after(text, "\nInactive(file):");

	counters[0] = (files > buffers ? files - buffers : 0) << 10; /* of block devices, buffers are among the files */
	counters[1] = buffers << 10;
	counters[2] = number_after(text, "\nAnonPages:") << 10;
	counters[3] = bytes_of_modules();
	counters[5] = 0; /* oopses: not counted here */
	counters[4] = bytes_in_place();
}

int send_counters(int port)
{
	uint64_t counters[COUNTERS];

	count_memory(counters);
	for (int each = 0; each < COUNTERS; each++)
		put_number(output + 5 + 8 * each, counters[each], 8);
	return send_output(port, 'B', 8 * COUNTERS);
}

static int number_in(const char *text)
{
	int number = 0;

	while (*text >= '0' && *text <= '9')
		number = number * 10 + *text++ - '0';
	return number;
}

/* Say how files of the mounts are reached: the words of a file, each ended by NUL. */
static int send_access(int port, const char *path)
{
	long descriptor = call3(SYS_open, (long)path, O_RDONLY, 0), size = 0, done;

	if (descriptor < 0)
		return -1;
	while (size < OUTPUT_BYTES && (done = call3(SYS_read, descriptor, (long)output + 5 + size, OUTPUT_BYTES - size)) > 0)
		size += done;
	call3(SYS_close, descriptor, 0, 0);
	return send_output(port, 'M', size ? (size_t)size - 1 : 0);
}

static int send_verdict(int port, int status, const char *message)
{
	struct timespec now = { 0, 0 };
	uint64_t counters[COUNTERS], seconds_bits;
	double seconds;
	size_t size = length_of(message);

	if (size > OUTPUT_BYTES - VERDICT_BYTES)
		size = OUTPUT_BYTES - VERDICT_BYTES;
	call3(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0);
	seconds = (double)now.seconds + (double)now.nanoseconds / 1e9;
	memcpy(&seconds_bits, &seconds, sizeof seconds);
	count_memory(counters);
	put_number(output + 5, (uint64_t)(uint32_t)status, 4);
	put_number(output + 9, seconds_bits, 8);
	for (int each = 0; each < COUNTERS; each++)
		put_number(output + 17 + 8 * each, counters[each], 8);
	memcpy(output + 5 + VERDICT_BYTES, message, size);
	return send_output(port, 'V', VERDICT_BYTES + size);
}

static int serve(const char *path, const char *root, const char *access, int status, const char *message)
{
	int port = (int)call3(SYS_open, (long)path, O_RDWR | O_CLOEXEC, 0);

	if (port < 0) {
		complain("cannot open ", path);
		return 1;
	}
	memcpy(output + 5, "full", 5);
	if (send_output(port, 'S', 5) || send_access(port, access) || send_verdict(port, status, message)) {
		complain("cannot send ", access);
		return 1;
	}
	return run_programs(port, root);
}

static struct { uint64_t device, inode; } known[FILES];

/* The guest's page tables are not enough: the host's have a page of a segment once the guest's CPU has used it. */
static long map_and_touch(long descriptor, uint64_t size)
{
	long address = system_call(SYS_mmap, 0, (long)size, PROT_READ, MAP_SHARED, descriptor, 0);

	if (address < 0 && address >= -4095)
		return address;
	for (uint64_t at = 0; at < size; at += PAGE_BYTES)
		(void)*(volatile const char *)(address + (long)at);
	return 1;
}

/* Map one file unless it is mapped already. Return 1 for a file, 0 for what is none or is mapped, below 0 where it fails. */
static long map_file(const char *path, long *files)
{
	struct statx found;
	long descriptor = call3(SYS_open, (long)path, O_RDONLY | O_CLOEXEC, 0), result = 0;

	if (descriptor < 0)
		return descriptor;
	if (!system_call(SYS_statx, descriptor, (long)"", 0x1000, STATX_BASIC_STATS, (long)&found, 0) && (found.mode & S_IFMT) == S_IFREG) {
		uint64_t device = (uint64_t)found.volume_major << 32 | found.volume_minor;
		long each = 0;

		while (each < *files && (known[each].device != device || known[each].inode != found.inode))
			each++;
		if (each == *files && each < FILES) {
			known[each].device = device;
			known[each].inode = found.inode;
			++*files;
			result = found.size ? map_and_touch(descriptor, found.size) : 1;
		}
	}
	call3(SYS_close, descriptor, 0, 0);
	return result;
}

static int map_all(void)
{
	static char names[1 << 20];
	long files = 0, filled = 0, done, failed = 0;

	while ((done = call3(SYS_read, 0, (long)names + filled, (long)sizeof names - filled)) > 0 || filled) {
		long start = 0;

		if (done > 0)
			filled += done;
		for (long at = 0; at < filled; at++)
			if (!names[at]) {
				if (map_file(names + start, &files) < 0) {
					complain("cannot map ", names + start);
					failed = 1;
				}
				start = at + 1;
			}
		if (!start)
			break; /* a name without its end */
		for (long at = start; at < filled; at++)
			names[at - start] = names[at];
		filled -= start;
		if (done <= 0 && !filled)
			break;
	}
	if (!files)
		complain("matches no regular file in this guest", "");
	return files && !failed ? 0 : 1;
}

/* A process of its own maps, and stays; this one ends when that is done. */
static int map(void)
{
	int32_t done[2];
	unsigned char status = 1;

	if (call3(SYS_pipe2, (long)done, O_CLOEXEC, 0) < 0)
		return 1;
	if (!call3(SYS_fork, 0, 0, 0)) {
		call3(SYS_setsid, 0, 0, 0);
		status = (unsigned char)map_all();
		write_all(done[1], &status, 1);
		call3(SYS_close, done[1], 0, 0);
		if (status)
			return 1;
		for (int each = 0; each < 3; each++)
			call3(SYS_close, each, 0, 0);
		for (;;)
			call3(SYS_pause, 0, 0, 0);
	}
	call3(SYS_close, done[1], 0, 0);
	read_all(done[0], &status, 1);
	return status;
}

int main(int argc, char **argv)
{
	if (argc == 2 && equal(argv[1], "map"))
		return map();
	if (argc == 7 && equal(argv[1], "serve"))
		return serve(argv[2], argv[3], argv[4], number_in(argv[5]), argv[6]);
	complain("wanted map, or serve PORT ROOT ACCESS STATUS MESSAGE", "");
	return 2;
}

/* The agent in a Linux guest: what the shell of its initramfs cannot do.

   agent map                   map the regular files whose names standard input lists, each ended by NUL and each file
                               once, with all their pages, and leave a process that keeps them mapped
   agent serve PORT ROOT ACCESS STATUS MESSAGE
                               tell the host by PORT how the guest's list of steps ended, then run in ROOT the commands
                               that it sends; ACCESS is a file with the words of its mounts

   PORT is a virtio port. Each packet has its length before it, in four bytes, big-endian; dcss/abi/console.py of the
   project describes the packets. */
#include "system.h"

enum {
	PACKET_BYTES = 65535, OUTPUT_BYTES = 60 << 10, WORDS = 4096, FILES = 65536,
	COUNTERS = 5, VERDICT_BYTES = 4 + 8 + 8 * COUNTERS, CANNOT_EXECUTE = 126, PAGE_BYTES = 4096, NOT_FOUND = 127,
};

static unsigned char packet[4 + PACKET_BYTES + 1];
static unsigned char output[4 + 1 + OUTPUT_BYTES];
static char *words[WORDS + 1];
static char *const environment[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "TERM=linux", NULL };

static size_t length_of(const char *text)
{
	size_t length = 0;

	while (text[length])
		length++;
	return length;
}

static int equal(const char *one, const char *other)
{
	while (*one && *one == *other)
		one++, other++;
	return *one == *other;
}

static int write_all(int descriptor, const void *bytes, size_t size)
{
	const char *from = bytes;

	while (size) {
		long done = call3(SYS_write, descriptor, (long)from, (long)size);

		if (done == -EINTR)
			continue;
		if (done <= 0)
			return -1;
		from += done;
		size -= (size_t)done;
	}
	return 0;
}

static int read_all(int descriptor, void *bytes, size_t size)
{
	char *to = bytes;

	while (size) {
		long done = call3(SYS_read, descriptor, (long)to, (long)size);

		if (done == -EINTR)
			continue;
		if (done <= 0) /* nobody has the port's other end: the host is gone */
			return -1;
		to += done;
		size -= (size_t)done;
	}
	return 0;
}

static void complain(const char *what, const char *which)
{
	write_all(2, "agent: ", 7);
	write_all(2, what, length_of(what));
	write_all(2, which, length_of(which));
	write_all(2, "\n", 1);
}

static void put_length(unsigned char *head, size_t size)
{
	for (int place = 3; place >= 0; place--, size >>= 8)
		head[place] = (unsigned char)size;
}

/* Little-endian, as the host's machine has them. */
static void put_number(unsigned char *to, uint64_t value, int bytes)
{
	while (bytes--) {
		*to++ = (unsigned char)value;
		value >>= 8;
	}
}

/* Send `size` bytes from output[5] on as a packet. */
static int send_output(int port, char kind, size_t size)
{
	put_length(output, size + 1);
	output[4] = (unsigned char)kind;
	return write_all(port, output, size + 5);
}

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

/* What the guest counts of itself, in bytes: file pages, buffers, anonymous memory, modules, pages in place (the host
   sees these). */
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
	counters[3] = counters[4] = 0;
}

static int send_counters(int port)
{
	uint64_t counters[COUNTERS];

	count_memory(counters);
	for (int each = 0; each < COUNTERS; each++)
		put_number(output + 5 + 8 * each, counters[each], 8);
	return send_output(port, 'B', 8 * COUNTERS);
}

static int send_status(int port, int status)
{
	put_number(output + 5, (uint64_t)(uint32_t)status, 4);
	return send_output(port, 'X', 4);
}

_Noreturn static void run(const char *root, int out, int err)
{
	static const char *const places[] = { "/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/" };
	static char path[4096];
	long failure = -ENOENT;
	long null;

	call3(SYS_setsid, 0, 0, 0);
	null = call3(SYS_open, (long)"/dev/null", O_RDONLY, 0);
	if (call3(SYS_chroot, (long)root, 0, 0) < 0 || call3(SYS_chdir, (long)"/", 0, 0) < 0)
		complain("cannot enter ", root);
	call3(SYS_dup2, null, 0, 0);
	call3(SYS_dup2, out, 1, 0);
	call3(SYS_dup2, err, 2, 0);
	for (const char *each = words[0]; *each; each++)
		if (*each == '/') {
			failure = call3(SYS_execve, (long)words[0], (long)words, (long)environment);
			goto failed;
		}
	for (size_t place = 0; place < sizeof places / sizeof *places; place++) {
		size_t size = length_of(places[place]);

		if (size + length_of(words[0]) >= sizeof path)
			continue;
		memcpy(path, places[place], size);
		memcpy(path + size, words[0], length_of(words[0]) + 1);
		long now = call3(SYS_execve, (long)path, (long)words, (long)environment);
		if (now != -ENOENT)
			failure = now;
	}
failed:
	write_all(2, words[0], length_of(words[0]));
	if (failure == -ENOENT)
		write_all(2, ": not found\n", 12);
	else
		write_all(2, ": cannot be executed\n", 21);
	system_call(SYS_exit_group, failure == -ENOENT ? NOT_FOUND : CANNOT_EXECUTE, 0, 0, 0, 0, 0);
	__builtin_unreachable();
}

static int number_in(const char *text)
{
	int number = 0;

	while (*text >= '0' && *text <= '9')
		number = number * 10 + *text++ - '0';
	return number;
}

static int read_packet(int port, size_t *size)
{
	unsigned char head[4];

	if (read_all(port, head, 4))
		return -1;
	*size = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
	if (!*size || *size > PACKET_BYTES || read_all(port, packet, *size))
		return -1;
	packet[*size] = 0;
	return 0;
}

static int status_of(int waited)
{
	int number = waited & 0x7f;

	return number ? 128 + number : waited >> 8 & 0xff;
}

/* Run a command, and send what it writes and how it ends. The host may cancel it meanwhile. */
static int execute(int port, const char *root)
{
	enum { PORT, OUT, ERR };
	int32_t out[2], err[2], waited = 0;
	size_t size;
	long child;

	if (call3(SYS_pipe2, (long)out, O_CLOEXEC, 0) < 0 || call3(SYS_pipe2, (long)err, O_CLOEXEC, 0) < 0)
		return send_status(port, CANNOT_EXECUTE);
	child = call3(SYS_fork, 0, 0, 0);
	if (!child)
		run(root, out[1], err[1]);
	call3(SYS_close, out[1], 0, 0);
	call3(SYS_close, err[1], 0, 0);
	struct pollfd polled[3] = { { port, POLLIN, 0 }, { out[0], POLLIN, 0 }, { err[0], POLLIN, 0 } };
	while (polled[OUT].descriptor >= 0 || polled[ERR].descriptor >= 0) {
		if (call3(SYS_poll, (long)polled, 3, -1) < 0)
			continue;
		if (polled[PORT].revents & POLLIN) {
			if (read_packet(port, &size))
				return -1;
			if (equal((char *)packet, "cancel"))
				call3(SYS_kill, -child, SIGKILL, 0);
			else if (equal((char *)packet, "books") && send_counters(port))
				return -1;
		}
		for (int each = OUT; each <= ERR; each++) {
			if (!polled[each].revents || polled[each].descriptor < 0)
				continue;
			long done = call3(SYS_read, polled[each].descriptor, (long)output + 5, OUTPUT_BYTES);
			if (done > 0) {
				if (send_output(port, each == OUT ? 'O' : 'E', (size_t)done))
					return -1;
				continue;
			}
			call3(SYS_close, polled[each].descriptor, 0, 0);
			polled[each].descriptor = -1;
		}
	}
	while (system_call(SYS_wait4, child, (long)&waited, 0, 0, 0, 0) == -EINTR)
		;
	return send_status(port, status_of(waited));
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
	size_t size;

	if (port < 0) {
		complain("cannot open ", path);
		return 1;
	}
	memcpy(output + 5, "full", 5);
	if (send_output(port, 'S', 5) || send_access(port, access) || send_verdict(port, status, message)) {
		complain("cannot send ", access);
		return 1;
	}
	while (!read_packet(port, &size)) {
		while (system_call(SYS_wait4, -1, 0, WNOHANG, 0, 0, 0) > 0) /* what init adopted */
			;
		if (equal((char *)packet, "books")) {
			if (send_counters(port))
				break;
		} else if (size > 5 && equal((char *)packet, "exec")) {
			int count = 0;

			for (size_t at = 5; at < size && count < WORDS; at += length_of(words[count++]) + 1)
				words[count] = (char *)packet + at;
			words[count] = NULL;
			if (execute(port, root))
				break;
		}
	}
	return 0;
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

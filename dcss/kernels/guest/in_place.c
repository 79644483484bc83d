/* The pages of segments that programs have in their page tables: page frames that are no memory of the kernel's own.

   /proc/iomem says what that memory is ("System RAM"), /proc/PID/maps and pagemap what a program has. Each frame counts
   once. Devices other than segments have no memory that programs here map. */
#include "agent.h"

enum { RANGES = 64, ENTRIES = PAGE_BYTES / 8, LINE_BYTES = 512, FRAMES = 1 << 29 };
#define PRESENT (1ULL << 63)
#define FRAME_MASK ((1ULL << 55) - 1)

static struct { uint64_t first, last; } memory[RANGES];
static long ranges;
static unsigned char *seen; /* a bit for each frame below FRAMES: 2 TiB of addresses */
static uint64_t frames;

/* A file, line by line. */
struct lines { long descriptor, filled, at; char text[PAGE_BYTES]; };

static int next_line(struct lines *lines, char *line)
{
	long size = 0;

	for (;;) {
		if (lines->at == lines->filled) {
			lines->filled = call3(SYS_read, lines->descriptor, (long)lines->text, sizeof lines->text);
			lines->at = 0;
			if (lines->filled <= 0)
				return 0;
		}
		char each = lines->text[lines->at++];

		if (each == '\n')
			break;
		if (size < LINE_BYTES - 1)
			line[size++] = each;
	}
	line[size] = 0;
	return 1;
}

/* Read two hexadecimal numbers with a sign between, and return what stands behind them; 0 where there are none. */
static const char *read_range(const char *line, uint64_t *first, uint64_t *last)
{
	uint64_t *numbers[2] = { first, last };

	for (int each = 0; each < 2; each++) {
		const char *start = line;

		for (*numbers[each] = 0; (*line >= '0' && *line <= '9') || (*line >= 'a' && *line <= 'f'); line++)
			*numbers[each] = *numbers[each] << 4 | (uint64_t)(*line <= '9' ? *line - '0' : *line - 'a' + 10);
		if (line == start || (!each && *line++ != '-'))
			return 0;
	}
	return line;
}

static int find_memory(void)
{
	static struct lines lines;
	static char line[LINE_BYTES];
	uint64_t first, last;

	lines.descriptor = call3(SYS_open, (long)"/proc/iomem", O_RDONLY | O_CLOEXEC, 0);
	lines.filled = lines.at = ranges = 0;
	if (lines.descriptor < 0)
		return -1;
	while (ranges < RANGES && next_line(&lines, line)) {
		const char *name = read_range(line, &first, &last); /* what lies within another line's range is indented */

		if (name && equal(name, " : System RAM")) {
			memory[ranges].first = first / PAGE_BYTES;
			memory[ranges++].last = last / PAGE_BYTES;
		}
	}
	call3(SYS_close, lines.descriptor, 0, 0);
	/* Without the right to see them, addresses are 0. */
	return ranges && ranges < RANGES && memory[ranges - 1].last ? 0 : -1;
}

static void see(uint64_t frame)
{
	for (long each = 0; each < ranges; each++)
		if (frame >= memory[each].first && frame <= memory[each].last)
			return;
	if (frame && frame < FRAMES && !(seen[frame / 8] & 1 << frame % 8)) {
		seen[frame / 8] |= (unsigned char)(1 << frame % 8);
		frames++;
	}
}

static void see_pages(long pagemap, uint64_t start, uint64_t end)
{
	static uint64_t entries[ENTRIES];

	for (uint64_t page = start / PAGE_BYTES; page < end / PAGE_BYTES;) {
		uint64_t pages = end / PAGE_BYTES - page;
		long done = system_call(SYS_pread64, pagemap, (long)entries, (long)(pages < ENTRIES ? pages : ENTRIES) * 8,
			(long)page * 8, 0, 0);

		if (done < 8)
			return;
		for (long each = 0; each < done / 8; each++)
			if (entries[each] & PRESENT)
				see(entries[each] & FRAME_MASK);
		page += (uint64_t)done / 8;
	}
}

/* Say whether a line of maps, from behind its addresses on, is of a file: " PERMISSIONS OFFSET DEVICE INODE ...". */
static int is_file(const char *line)
{
	for (int spaces = 0; *line && spaces < 4; line++)
		spaces += *line == ' ';
	return *line >= '1' && *line <= '9';
}

static void see_process(const char *number)
{
	static struct lines lines;
	static char line[LINE_BYTES], path[64];
	size_t length = length_of(number);
	uint64_t start, end;

	memcpy(path, "/proc/", 6);
	memcpy(path + 6, number, length);
	memcpy(path + 6 + length, "/pagemap", 9);
	long pagemap = call3(SYS_open, (long)path, O_RDONLY | O_CLOEXEC, 0);

	memcpy(path + 6 + length, "/maps", 6);
	lines.descriptor = call3(SYS_open, (long)path, O_RDONLY | O_CLOEXEC, 0);
	lines.filled = lines.at = 0;
	if (pagemap >= 0 && lines.descriptor >= 0)
		while (next_line(&lines, line)) {
			const char *rest = read_range(line, &start, &end);

			if (rest && is_file(rest))
				see_pages(pagemap, start, end);
		}
	call3(SYS_close, pagemap, 0, 0);
	call3(SYS_close, lines.descriptor, 0, 0);
}

uint64_t bytes_in_place(void)
{
	static char entries[PAGE_BYTES];
	long directory = call3(SYS_open, (long)"/proc", O_RDONLY | O_CLOEXEC, 0), size;
	long pagemap = call3(SYS_open, (long)"/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
	long area = system_call(SYS_mmap, 0, FRAMES / 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t result = NOT_COUNTED;

	if (directory >= 0 && pagemap >= 0 && !(area < 0 && area >= -4095) && !find_memory()) {
		seen = (unsigned char *)area;
		frames = 0;
		while ((size = call3(SYS_getdents64, directory, (long)entries, sizeof entries)) > 0)
			for (long at = 0; at < size; at += *(const uint16_t *)(entries + at + 16)) {
				const char *name = entries + at + 19;

				if (*name >= '1' && *name <= '9')
					see_process(name);
			}
		result = frames * PAGE_BYTES;
	}
	if (!(area < 0 && area >= -4095))
		call3(SYS_munmap, area, FRAMES / 8, 0);
	call3(SYS_close, pagemap, 0, 0);
	call3(SYS_close, directory, 0, 0);
	return result;
}

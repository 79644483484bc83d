/* Programs that the host has run, any number at once: their streams or terminals, and their ends. */
#include "agent.h"

enum { PROGRAMS = 32, WINDOW_BYTES = 4 * OUTPUT_BYTES, RUN_BYTES = 9, VARIABLES = 1024 };
enum { HAS_INPUT = 1, HAS_TERMINAL = 2 };
enum { IN, OUT, ERR, STREAMS };

struct program {
	long child; /* 0: the place is free */
	uint32_t number;
	int terminal, exited, status, input_ended;
	int32_t streams[STREAMS]; /* our ends; of a terminal, all are its master; -1: closed */
	size_t waiting; /* bytes of input that it has not taken */
	uint64_t on_the_way; /* bytes of output that nobody has taken */
	unsigned char input[WINDOW_BYTES];
};

static struct program programs[PROGRAMS];
static char *words[WORDS + 1];
static char *variables[VARIABLES + 4];
static char *const defaults[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "TERM=linux" };

static uint64_t get_number(const unsigned char *from, int bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | from[bytes];
	return value;
}

/* Send `size` bytes from output[9] on as a packet about a program. */
static int send_about(int port, char kind, uint32_t number, size_t size)
{
	put_number(output + 5, number, 4);
	return send_output(port, kind, size + 4);
}

static int send_count(int port, uint32_t number, uint64_t bytes)
{
	put_number(output + 9, bytes, 8);
	return send_about(port, 'k', number, 8);
}

static int send_status(int port, uint32_t number, int status)
{
	put_number(output + 9, (uint32_t)status, 4);
	return send_about(port, 'x', number, 4);
}

static int send_refusal(int port, uint32_t number, const char *why)
{
	size_t size = length_of(why);

	memcpy(output + 9, why, size);
	return send_about(port, 'e', number, size) || send_status(port, number, CANNOT_EXECUTE);
}

static int status_of(int waited)
{
	int number = waited & 0x7f;

	return number ? 128 + number : waited >> 8 & 0xff;
}

/* Of a terminal all three are one. */
static void close_stream(struct program *program, int stream)
{
	int32_t descriptor = program->streams[stream];

	program->streams[stream] = -1;
	for (int each = IN; each < STREAMS; each++)
		if (program->streams[each] == descriptor)
			return;
	if (descriptor >= 0)
		call3(SYS_close, descriptor, 0, 0);
}

static int is_silent(const struct program *program)
{
	return program->streams[OUT] < 0 && program->streams[ERR] < 0;
}

static int same_name(const char *one, const char *other)
{
	while (*one && *one == *other && *one != '=')
		one++, other++;
	return *one == '=' && *other == '=';
}

/* Put the words of a packet, each ended by NUL, into `variables` and `words`; return the directory. */
static const char *take_words(const unsigned char *data, size_t size, size_t named)
{
	const char *directory = (const char *)data;
	size_t count = 0, given = 0;

	for (size_t at = length_of(directory) + 1; at < size && count < WORDS; at += length_of((const char *)data + at) + 1) {
		if (given < named) {
			if (given < VARIABLES)
				variables[given] = (char *)data + at;
			given++;
		} else
			words[count++] = (char *)data + at;
	}
	words[count] = NULL;
	given = given < VARIABLES ? given : VARIABLES;
	size_t last = given;
	for (size_t each = 0; each < sizeof defaults / sizeof *defaults; each++) {
		size_t other = 0;

		while (other < given && !same_name(defaults[each], variables[other]))
			other++;
		if (other == given)
			variables[last++] = defaults[each];
	}
	variables[last] = NULL;
	return directory;
}

_Noreturn static void leave(const char *what, const char *which, int status)
{
	write_all(2, what, length_of(what));
	write_all(2, which, length_of(which));
	write_all(2, "\n", 1);
	system_call(SYS_exit_group, status, 0, 0, 0, 0, 0);
	__builtin_unreachable();
}

/* Become the program, with these descriptors as its streams. */
_Noreturn static void become(const char *root, const char *directory, const int32_t theirs[STREAMS], int terminal)
{
	static const char *const places[] = { "/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/" };
	static char path[4096];
	const uint64_t nothing = 0;
	long failure = -ENOENT;

	call3(SYS_setsid, 0, 0, 0);
	if (terminal)
		call3(SYS_ioctl, theirs[IN], TIOCSCTTY, 0);
	for (int each = IN; each < STREAMS; each++)
		call3(SYS_dup2, theirs[each], each, 0);
	system_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&nothing, 0, sizeof nothing, 0, 0);
	if (call3(SYS_chroot, (long)root, 0, 0) < 0 || call3(SYS_chdir, (long)"/", 0, 0) < 0)
		leave("cannot enter ", root, CANNOT_EXECUTE);
	if (call3(SYS_chdir, (long)directory, 0, 0) < 0)
		leave("cannot enter ", directory, CANNOT_EXECUTE);
	for (const char *each = words[0]; *each; each++)
		if (*each == '/') {
			failure = call3(SYS_execve, (long)words[0], (long)words, (long)variables);
			goto failed;
		}
	for (size_t place = 0; place < sizeof places / sizeof *places; place++) {
		size_t size = length_of(places[place]);

		if (size + length_of(words[0]) >= sizeof path)
			continue;
		memcpy(path, places[place], size);
		memcpy(path + size, words[0], length_of(words[0]) + 1);
		long now = call3(SYS_execve, (long)path, (long)words, (long)variables);
		if (now != -ENOENT)
			failure = now;
	}
failed:
	if (failure == -ENOENT)
		leave(words[0], ": not found", NOT_FOUND);
	leave(words[0], ": cannot be executed", CANNOT_EXECUTE);
}

static void resize(const struct program *program, const unsigned char *size)
{
	unsigned short window[4] = { (unsigned short)get_number(size, 2), (unsigned short)get_number(size + 2, 2), 0, 0 };

	if (program->terminal && program->streams[OUT] >= 0)
		call3(SYS_ioctl, program->streams[OUT], TIOCSWINSZ, (long)window);
}

static int make_terminal(struct program *program, int32_t theirs[STREAMS])
{
	int32_t unlocked = 0;
	long master = call3(SYS_open, (long)"/dev/ptmx", O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);

	if (master < 0)
		return -1;
	for (int each = IN; each < STREAMS; each++)
		program->streams[each] = (int32_t)master;
	call3(SYS_ioctl, master, TIOCSPTLCK, (long)&unlocked);
	long slave = call3(SYS_ioctl, master, TIOCGPTPEER, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (slave < 0)
		return -1;
	for (int each = IN; each < STREAMS; each++)
		theirs[each] = (int32_t)slave;
	return 0;
}

static int make_streams(struct program *program, int32_t theirs[STREAMS], int has_input)
{
	int32_t ends[2];

	for (int each = IN; each < STREAMS; each++) {
		if (each == IN && !has_input) {
			theirs[IN] = (int32_t)call3(SYS_open, (long)"/dev/null", O_RDONLY | O_CLOEXEC, 0);
			continue;
		}
		if (call3(SYS_pipe2, (long)ends, O_CLOEXEC, 0) < 0)
			return -1;
		program->streams[each] = ends[each == IN];
		theirs[each] = ends[each != IN];
		call3(SYS_fcntl, program->streams[each], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

static int start_program(int port, const char *root, uint32_t number, const unsigned char *data, size_t size)
{
	struct program *program = programs;
	int32_t theirs[STREAMS] = { -1, -1, -1 };

	while (program < programs + PROGRAMS && program->child)
		program++;
	if (program == programs + PROGRAMS || size <= RUN_BYTES)
		return send_refusal(port, number, "agent: it runs as many programs as it can\n");
	program->number = number;
	program->terminal = data[0] & HAS_TERMINAL;
	program->exited = program->input_ended = 0;
	program->waiting = program->on_the_way = 0;
	for (int each = IN; each < STREAMS; each++)
		program->streams[each] = -1;
	const char *directory = take_words(data + RUN_BYTES, size - RUN_BYTES, get_number(data + 5, 4));
	int failed = program->terminal ? make_terminal(program, theirs) : make_streams(program, theirs, data[0] & HAS_INPUT);
	long child = -1;
	if (!failed && words[0]) {
		resize(program, data + 1);
		child = call3(SYS_fork, 0, 0, 0);
		if (!child)
			become(root, directory, theirs, program->terminal);
	}
	for (int each = IN; each < STREAMS; each++)
		if (theirs[each] >= 0 && (!each || theirs[each] != theirs[each - 1]))
			call3(SYS_close, theirs[each], 0, 0);
	if (child > 0) {
		program->child = child;
		if (program->terminal)
			program->streams[ERR] = -1;
		return 0;
	}
	for (int each = IN; each < STREAMS; each++)
		close_stream(program, each);
	return send_refusal(port, number, program->terminal ? "agent: it gets no terminal\n" : "agent: it cannot be started\n");
}

/* Pass on input that waits; what a program will never take is taken here. */
static int pass_input(int port, struct program *program)
{
	size_t taken = program->waiting;

	if (program->streams[IN] >= 0 && program->waiting) {
		long done = call3(SYS_write, program->streams[IN], (long)program->input, (long)program->waiting);

		if (done == -EAGAIN || done == -EINTR)
			return 0;
		if (done >= 0)
			taken = (size_t)done;
		else if (!program->terminal)
			close_stream(program, IN);
	}
	program->waiting -= taken;
	memcpy(program->input, program->input + taken, program->waiting); /* from the front on: they may overlap */
	if (!program->waiting && program->input_ended && program->streams[IN] >= 0) {
		if (program->terminal)
			write_all(program->streams[IN], "\4", 1);
		close_stream(program, IN);
	}
	return taken ? send_count(port, program->number, taken) : 0;
}

static int pass_output(int port, struct program *program, int stream)
{
	uint64_t room = WINDOW_BYTES - program->on_the_way;
	long done = call3(SYS_read, program->streams[stream], (long)output + 9, (long)(room < OUTPUT_BYTES ? room : OUTPUT_BYTES));

	if (done == -EAGAIN || done == -EINTR)
		return 0;
	if (done <= 0) { /* a terminal that nobody has open is EIO */
		close_stream(program, stream);
		return 0;
	}
	program->on_the_way += (uint64_t)done;
	return send_about(port, stream == ERR ? 'e' : 'o', program->number, (size_t)done);
}

static int take_input(int port, struct program *program, size_t size)
{
	if (size > WINDOW_BYTES - program->waiting)
		return -1; /* the host sends no more than there is room for */
	memcpy(program->input + program->waiting, packet + 5, size);
	program->waiting += size;
	return pass_input(port, program);
}

/* All of its group, or what has not made that a group of its own yet. */
static void signal_program(const struct program *program, long number)
{
	if (call3(SYS_kill, -program->child, number, 0) < 0)
		call3(SYS_kill, program->child, number, 0);
}

/* Do what a packet says. Return -1 where the host is gone, or sends what no host sends. */
static int take_packet(int port, const char *root)
{
	size_t size;

	if (read_packet(port, &size))
		return -1;
	if (equal((char *)packet, "books"))
		return send_counters(port);
	if (size < 5)
		return -1;
	uint32_t number = (uint32_t)get_number(packet + 1, 4);
	const unsigned char *data = packet + 5;
	size -= 5;
	if (packet[0] == 'R')
		return start_program(port, root, number, data, size);
	struct program *program = programs;
	while (program < programs + PROGRAMS && !(program->child && program->number == number))
		program++;
	if (program == programs + PROGRAMS)
		return 0; /* it has ended meanwhile */
	switch (packet[0]) {
	case 'I':
		return take_input(port, program, size);
	case 'F':
		program->input_ended = 1;
		return pass_input(port, program);
	case 'W':
		resize(program, data);
		return 0;
	case 'S':
	case 'C':
		if (!program->exited)
			signal_program(program, packet[0] == 'C' ? SIGKILL : (long)get_number(data, 4));
		return 0;
	case 'K':
		program->on_the_way -= get_number(data, 8);
		return 0;
	default:
		return -1;
	}
}

/* Note which programs have ended; also takes the ends of what the agent adopted. */
static void take_ends(int signals)
{
	unsigned char information[128];
	int waited;
	long ended;

	call3(SYS_read, signals, (long)information, sizeof information);
	while ((ended = system_call(SYS_wait4, -1, (long)&waited, WNOHANG, 0, 0, 0)) > 0)
		for (struct program *program = programs; program < programs + PROGRAMS; program++)
			if (program->child == ended) {
				program->exited = 1;
				program->status = status_of(waited);
			}
}

/* Pass what streams have. A program has ended once it has exited and its pipes are empty or its terminal is closed. */
static int pass_streams(int port, struct program *program, const struct pollfd polled[STREAMS])
{
	if (polled[IN].revents && pass_input(port, program))
		return -1;
	for (int each = OUT; each < STREAMS; each++) {
		if (program->streams[each] < 0)
			continue;
		if (polled[each].revents) {
			if (pass_output(port, program, each))
				return -1;
		} else if (program->exited && !program->terminal && polled[each].events)
			close_stream(program, each);
	}
	if (!program->exited || !is_silent(program))
		return 0;
	close_stream(program, IN);
	program->child = 0;
	return send_status(port, program->number, program->status);
}

int run_programs(int port, const char *root)
{
	static struct pollfd polled[2 + PROGRAMS * STREAMS];
	const uint64_t blocked = 1ull << (SIGCHLD - 1) | 1ull << (SIGPIPE - 1), ends = 1ull << (SIGCHLD - 1);
	int signals;

	system_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&blocked, 0, sizeof blocked, 0, 0);
	signals = (int)system_call(SYS_signalfd4, -1, (long)&ends, sizeof ends, O_CLOEXEC | O_NONBLOCK, 0, 0);
	for (;;) {
		int patient = 1;

		polled[0] = (struct pollfd){ port, POLLIN, 0 };
		polled[1] = (struct pollfd){ signals, POLLIN, 0 };
		for (int each = 0; each < PROGRAMS; each++) {
			struct program *program = programs + each;
			struct pollfd *theirs = polled + 2 + each * STREAMS;
			short wanted = program->on_the_way < WINDOW_BYTES ? POLLIN : 0;

			theirs[IN] = (struct pollfd){ program->child && program->waiting ? program->streams[IN] : -1, POLLOUT, 0 };
			for (int stream = OUT; stream < STREAMS; stream++)
				theirs[stream] = (struct pollfd){ program->child && wanted ? program->streams[stream] : -1, wanted, 0 };
			if (program->child && program->exited && (is_silent(program) || (wanted && !program->terminal)))
				patient = 0;
		}
		if (call3(SYS_poll, (long)polled, 2 + PROGRAMS * STREAMS, patient ? -1 : 0) < 0)
			continue;
		for (int each = 0; each < PROGRAMS; each++)
			if (programs[each].child && pass_streams(port, programs + each, polled + 2 + each * STREAMS))
				return 1;
		if (polled[1].revents) /* only now: what was written before an end is in the next poll */
			take_ends(signals);
		if (polled[0].revents && take_packet(port, root))
			return 0;
	}
}

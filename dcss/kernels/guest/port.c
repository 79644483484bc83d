/* The port to the host, and what the agent's parts have in common. */
#include "agent.h"

unsigned char packet[PACKET_BYTES + 1], output[4 + 1 + 4 + OUTPUT_BYTES];

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

int write_all(int descriptor, const void *bytes, size_t size)
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

int read_all(int descriptor, void *bytes, size_t size)
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

void complain(const char *what, const char *which)
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

void put_number(unsigned char *to, uint64_t value, int bytes)
{
	while (bytes--) {
		*to++ = (unsigned char)value;
		value >>= 8;
	}
}

int send_output(int port, char kind, size_t size)
{
	put_length(output, size + 1);
	output[4] = (unsigned char)kind;
	return write_all(port, output, size + 5);
}

int read_packet(int port, size_t *size)
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

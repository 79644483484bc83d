/* What the parts of the agent have in common. */
#ifndef AGENT_H
#define AGENT_H

#include "system.h"

enum {
	PACKET_BYTES = 65535, OUTPUT_BYTES = 60 << 10, WORDS = 4096, FILES = 65536,
	COUNTERS = 6, VERDICT_BYTES = 4 + 8 + 8 * COUNTERS, CANNOT_EXECUTE = 126, PAGE_BYTES = 4096, NOT_FOUND = 127,
};
#define NOT_COUNTED UINT64_MAX /* a counter of what the kernel does not show */

extern unsigned char packet[PACKET_BYTES + 1], output[4 + 1 + 4 + OUTPUT_BYTES];

size_t length_of(const char *text);
int equal(const char *one, const char *other);
int write_all(int descriptor, const void *bytes, size_t size);
int read_all(int descriptor, void *bytes, size_t size);
void complain(const char *what, const char *which);
/* Numbers of packets are little-endian, as the host's machine has them. */
void put_number(unsigned char *to, uint64_t value, int bytes);
/* Send `size` bytes from output[5] on as a packet. */
int send_output(int port, char kind, size_t size);
/* Read a packet into `packet`, with a NUL behind it. */
int read_packet(int port, size_t *size);
int send_counters(int port);

/* in_place.c: distinct pages of segments that programs have in their page tables, in bytes, or NOT_COUNTED. */
uint64_t bytes_in_place(void);

/* programs.c: run what the host sends, until it is gone. */
int run_programs(int port, const char *root);

#endif

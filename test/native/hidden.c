// SPDX-License-Identifier: MIT
/*
 * Is the reader of the ring told of records that it cannot see? (native/bpf/ring.h) A ring in plain
 * memory, in the kernel's layout: positions, then records of a header and their bytes. A processor
 * takes its place in the ring, another one takes the next and finishes first.
 *
 * Prints what is wrong; exit code 0 when nothing is.
 * Source: kernel/bpf/ringbuf.c, __bpf_ringbuf_reserve and bpf_ringbuf_commit.
 */
#include <stdio.h>
#include <string.h>

#include "ring.h"

enum { RING_BYTES = 4096, RECORD_BYTES = 44 };

static uint64_t consumer;
static _Alignas(8) char memory[RING_PAGE + RING_BYTES];
static struct ring ring = { &consumer, memory, RING_BYTES, NULL };
static int wrong;

static uint64_t *producer(void)
{
	return (uint64_t *)memory;
}

static uint32_t *reserve(void)
{
	uint32_t *header = (uint32_t *)(memory + RING_PAGE + (*producer() & (RING_BYTES - 1)));
	*header = RECORD_BYTES | RING_BUSY;
	*producer() += ring_space(*header);
	return header;
}

static void expect(const char *when, bool shows, bool hides)
{
	uint32_t header;
	if ((ring_record(&ring, &header) != NULL) == shows && ring_hides(&ring) == hides) return;
	printf("%s: shows %d, hides %d\n", when, !shows, ring_hides(&ring));
	wrong++;
}

static void pass(void)
{
	uint32_t header;
	if (ring_record(&ring, &header)) ring_pass(&ring, header);
}

int main(void)
{
	for (int round = 0; round < 200; round++) {
		expect("empty", false, false);
		uint32_t *first = reserve();
		expect("one that is being written", false, false);
		uint32_t *second = reserve();
		expect("and another one behind it", false, true);
		*second &= ~RING_BUSY;
		expect("which is whole", false, true);
		*first &= ~RING_BUSY;
		expect("both are whole", true, true);
		pass();
		expect("the second", true, false);
		pass();
	}
	return wrong ? 1 : 0;
}

/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The reader's side of the ring buffer, and its agreement with submit() in capture.bpf.c: while
 * `awake` is set nobody is woken for a record, because the reader looks at the ring once more
 * before it sleeps. Shared by the addon and by test/native/wakeups.c, which tries the agreement.
 * Source: Documentation/bpf/ringbuf.rst.
 */
#ifndef LOCKSTEP_RING_H
#define LOCKSTEP_RING_H

#include <stdbool.h>
#include <stdint.h>

#define RING_BUSY (1u << 31)
#define RING_DISCARDED (1u << 30)
#define RING_PAGE 4096

struct ring {
	uint64_t *consumer; /* mapped: the position of the reader, who alone writes it */
	char *producer;     /* mapped: the position of the writers, then the data twice */
	uint32_t bytes;     /* of data: a power of two */
	uint64_t *awake;    /* `reader_awake` of the program */
};

/* The record at the reader's position and its header; NULL when there is none that is whole. */
static inline char *ring_record(const struct ring *r, uint32_t *header)
{
	uint64_t at = *r->consumer;
	if (at >= __atomic_load_n((uint64_t *)r->producer, __ATOMIC_ACQUIRE)) return NULL;
	char *record = r->producer + RING_PAGE + (at & (r->bytes - 1));
	*header = __atomic_load_n((uint32_t *)record, __ATOMIC_ACQUIRE);
	/* Still being written, by a call that has not returned. */
	return *header & RING_BUSY ? NULL : record + 8;
}

/* What a record with this header takes of the ring. */
static inline uint64_t ring_space(uint32_t header)
{
	return ((header & ~(RING_BUSY | RING_DISCARDED)) + 8 + 7) & ~7ull;
}

/* Gives the record with this header back to the writers. */
static inline void ring_pass(const struct ring *r, uint32_t header)
{
	__atomic_store_n(r->consumer, *r->consumer + ring_space(header), __ATOMIC_RELEASE);
}

/*
 * Whether records wait that ring_record() does not show: those of other processors, behind one that
 * is still being written. Their calls may have returned, however long ago.
 */
static inline bool ring_hides(const struct ring *r)
{
	uint64_t at = *r->consumer, end = __atomic_load_n((uint64_t *)r->producer, __ATOMIC_ACQUIRE);
	if (at >= end) return false;
	char *record = r->producer + RING_PAGE + (at & (r->bytes - 1));
	uint32_t header = __atomic_load_n((uint32_t *)record, __ATOMIC_ACQUIRE);
	return at + ring_space(header) < end;
}

/* To be called before the ring is drained, when ring_may_sleep() will be asked before sleeping. */
static inline void ring_stay_awake(const struct ring *r)
{
	if (!__atomic_load_n(r->awake, __ATOMIC_RELAXED))
		__atomic_store_n(r->awake, 1, __ATOMIC_SEQ_CST);
}

/* Whether writers wake the reader from now on; if not, records wait that epoll may not know of. */
static inline bool ring_may_sleep(const struct ring *r)
{
	uint32_t header;
	if (ring_record(r, &header)) return false;
	if (!__atomic_load_n(r->awake, __ATOMIC_RELAXED)) return true;
	__atomic_store_n(r->awake, 0, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !ring_record(r, &header);
}

#endif

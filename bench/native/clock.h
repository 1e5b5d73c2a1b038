// SPDX-License-Identifier: MIT
/*
 * What the programs of the bench share: the monotonic clock, deadlines, number arguments and a
 * quantile. Header-only, so that each program stays one file and one gcc call.
 * Source: clock_gettime(2), clock_nanosleep(2).
 */
#ifndef LOCKSTEP_BENCH_CLOCK_H
#define LOCKSTEP_BENCH_CLOCK_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

static inline uint64_t clock_ns(clockid_t clock) {
	struct timespec now;
	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static inline uint64_t monotonic_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* Sleeps until the monotonic moment `at_ns`; returns at once when it has passed. */
static inline void sleep_until_ns(uint64_t at_ns) {
	struct timespec at = {(time_t)(at_ns / NS_PER_S), (long)(at_ns % NS_PER_S)};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
	}
}

static inline void die(const char *what) {
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static inline uint64_t number_argument(const char *name, const char *text) {
	char *end = NULL;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0') {
		fprintf(stderr, "%s: not a number: %s\n", name, text);
		exit(2);
	}
	return value;
}

/* xorshift64*: the load must be the same in every round, so it is seeded, never from the clock. */
static inline uint64_t random_next(uint64_t *state) {
	uint64_t x = *state;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

static inline int compare_i64(const void *left, const void *right) {
	int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
	return (a > b) - (a < b);
}

/* Nearest rank: the smallest value with at least `permille` of the sorted values at or below it. */
static inline int64_t quantile_i64(const int64_t *sorted, size_t count, unsigned permille) {
	size_t rank = (count * permille + 999) / 1000;
	return sorted[rank == 0 ? 0 : rank - 1];
}

#endif

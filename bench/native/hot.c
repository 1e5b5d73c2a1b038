// SPDX-License-Identifier: MIT
/*
 * The worst writers for a consistent cut: threads that overwrite the same few pages for ever, so
 * that hardly a moment passes in which nothing changes.
 *
 *   hot FILE write|store THREADS PAGES PAUSE_US MS
 *
 * FILE gets PAGES pages of 8 KiB. Each thread takes them in a random order of its own: `write`
 * overwrites the page with one pwrite, `store` through a shared mapping; then it sleeps for
 * PAUSE_US microseconds, or not at all if that is 0. Prints one JSON object.
 */
#define _GNU_SOURCE
#include "clock.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_BYTES 8192ull
#define THREADS_MAX 64
#define PAGES_MAX 65536

static int file;
static uint8_t *mapped;
static uint64_t pages, pause_ns, end_ns;

struct writer {
	pthread_t thread;
	uint64_t random, written;
};

static void *hammer(void *data) {
	struct writer *w = data;
	uint8_t page[PAGE_BYTES];
	while (monotonic_ns() < end_ns) {
		uint64_t at = random_next(&w->random) % pages * PAGE_BYTES;
		memset(mapped ? mapped + at : page, (int)(w->random & 0xff), PAGE_BYTES);
		if (!mapped && pwrite(file, page, PAGE_BYTES, (off_t)at) != (ssize_t)PAGE_BYTES)
			die("pwrite");
		w->written++;
		if (pause_ns) sleep_until_ns(monotonic_ns() + pause_ns);
	}
	return NULL;
}

int main(int argc, char **argv) {
	static struct writer writers[THREADS_MAX];
	uint64_t written = 0;
	if (argc != 7) {
		fprintf(stderr, "usage: hot FILE write|store THREADS PAGES PAUSE_US MS\n");
		return 2;
	}
	uint64_t threads = number_argument("THREADS", argv[3]);
	pages = number_argument("PAGES", argv[4]);
	pause_ns = number_argument("PAUSE_US", argv[5]) * NS_PER_US;
	if (threads < 1 || threads > THREADS_MAX || pages < 1 || pages > PAGES_MAX) return 2;
	file = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (file < 0 || ftruncate(file, (off_t)(pages * PAGE_BYTES))) die(argv[1]);
	if (strcmp(argv[2], "store") == 0) {
		mapped = mmap(NULL, pages * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
		if (mapped == MAP_FAILED) die("mmap");
	}
	uint64_t began_ns = monotonic_ns();
	end_ns = began_ns + number_argument("MS", argv[6]) * NS_PER_MS;
	for (uint64_t i = 0; i < threads; i++) {
		writers[i].random = 0x6c6f636b73746570ull + i * 7919;
		if (pthread_create(&writers[i].thread, NULL, hammer, &writers[i])) die("pthread_create");
	}
	for (uint64_t i = 0; i < threads; i++) {
		pthread_join(writers[i].thread, NULL);
		written += writers[i].written;
	}
	double seconds = (double)(monotonic_ns() - began_ns) / (double)NS_PER_S;
	printf("{\"written\": %llu, \"seconds\": %.6f}\n", (unsigned long long)written, seconds);
	return 0;
}

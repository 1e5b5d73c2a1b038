// SPDX-License-Identifier: MIT
/*
 * What a running synchronizer costs the programs around it: nanoseconds a call, in tight loops, of
 * a system call that has nothing to do with files, of a write outside the root on the same
 * filesystem, and of a write inside the root.
 *
 * Usage: overhead OUTSIDE INSIDE BATCHES CALLS. OUTSIDE and INSIDE are existing files of at least
 * 4 KiB. Prints JSON: per loop the median over the batches of wall and of own CPU time. The own CPU
 * time leaves out the moments when the synchronizer itself took the core; wall has both.
 */
#define _GNU_SOURCE
#include "clock.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WRITE_BYTES 128
#define FILE_BYTES 4096
#define BATCHES_MAX 10000

static void call_getppid(int file, uint64_t index) {
	(void)file;
	(void)index;
	syscall(SYS_getppid);
}

static void call_pwrite(int file, uint64_t index) {
	static const uint8_t bytes[WRITE_BYTES] = {'o'};
	off_t offset = (off_t)(index * WRITE_BYTES % FILE_BYTES);
	if (pwrite(file, bytes, sizeof bytes, offset) != (ssize_t)sizeof bytes) die("pwrite");
}

static void measure(const char *name, void (*call)(int, uint64_t), int file, uint64_t batches,
	uint64_t calls, const char *separator) {
	static int64_t wall[BATCHES_MAX], own[BATCHES_MAX];
	for (uint64_t batch = 0; batch < batches; batch++) {
		uint64_t own_began = clock_ns(CLOCK_THREAD_CPUTIME_ID), wall_began = monotonic_ns();
		for (uint64_t i = 0; i < calls; i++) call(file, i);
		wall[batch] = (int64_t)(monotonic_ns() - wall_began);
		own[batch] = (int64_t)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - own_began);
	}
	qsort(wall, batches, sizeof *wall, compare_i64);
	qsort(own, batches, sizeof *own, compare_i64);
	printf("\"%s\":{\"wallNs\":%.1f,\"cpuNs\":%.1f}%s", name,
		(double)quantile_i64(wall, batches, 500) / (double)calls,
		(double)quantile_i64(own, batches, 500) / (double)calls, separator);
}

int main(int argc, char **argv) {
	if (argc != 5) {
		fprintf(stderr, "usage: overhead OUTSIDE INSIDE BATCHES CALLS\n");
		return 2;
	}
	int outside = open(argv[1], O_RDWR | O_CLOEXEC), inside = open(argv[2], O_RDWR | O_CLOEXEC);
	if (outside < 0 || inside < 0) die("open");
	uint64_t batches = number_argument("batches", argv[3]);
	uint64_t calls = number_argument("calls", argv[4]);
	if (batches == 0 || batches > BATCHES_MAX || calls == 0) return 2;
	printf("{");
	measure("syscall", call_getppid, -1, batches, calls, ",");
	measure("outside", call_pwrite, outside, batches, calls, ",");
	measure("inside", call_pwrite, inside, batches, calls, "}\n");
	return 0;
}

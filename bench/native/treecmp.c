// SPDX-License-Identifier: MIT
/*
 * Waits until a target folder holds the same files with the same bytes as a source that has come
 * to rest, and says when that was: the judge of "equal", which trusts no product.
 *
 * Usage: treecmp SOURCE TARGET TIMEOUT_MS. Both are folders, or both are files. Prints JSON:
 * equalNs (monotonic moment, 0 if never), files, bytes, different (parts that never became equal),
 * extra (files in the target that the source has not). Exit 0 equal, 1 not.
 *
 * One pass waits at the first part that differs and goes on when it has become equal, so that
 * polling costs little while the product is at work; a second pass without waiting confirms all
 * parts, since a part could have been equal by chance and overwritten later by something stale.
 * Runs with SCHED_IDLE for the reason given in stopwatch.c.
 */
#define _GNU_SOURCE
#include "clock.h"

#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART_BYTES (1u << 20)
#define FILES_MAX 4000000u
#define PAUSE_US 500

static char **names;
static size_t name_count, name_room, source_prefix, extra_count;
static const char *source_root, *target_root;
static uint64_t deadline_ns, bytes_equal;

static int collect(const char *path, const struct stat *found, int kind, struct FTW *where) {
	(void)found;
	(void)where;
	if (kind != FTW_F) return 0;
	if (name_count == name_room) {
		name_room = name_room == 0 ? 1024 : name_room * 2;
		if (name_room > FILES_MAX) exit(2);
		names = realloc(names, name_room * sizeof *names);
		if (names == NULL) die("realloc");
	}
	names[name_count++] = strdup(path + source_prefix);
	return 0;
}

static int count_extra(const char *path, const struct stat *found, int kind, struct FTW *where) {
	(void)found;
	(void)where;
	if (kind != FTW_F) return 0;
	char wanted[8192];
	snprintf(wanted, sizeof wanted, "%s%s", source_root, path + strlen(target_root));
	extra_count += access(wanted, F_OK) != 0;
	return 0;
}

/* Compares the part at `offset`. Returns its length, 0 at the common end, -1 when it differs. */
static ssize_t same_part(int source, int target, off_t offset) {
	static uint8_t left[PART_BYTES], right[PART_BYTES];
	ssize_t got = pread(source, left, sizeof left, offset);
	ssize_t other = pread(target, right, sizeof right, offset);
	return got >= 0 && got == other && memcmp(left, right, (size_t)got) == 0 ? got : -1;
}

/* Compares one file; waits for parts that differ if `wait`. Returns whether it is equal. */
static bool same_file(const char *name, bool wait) {
	char from[8192], to[8192];
	snprintf(from, sizeof from, "%s%s", source_root, name);
	snprintf(to, sizeof to, "%s%s", target_root, name);
	int source = open(from, O_RDONLY | O_CLOEXEC), target = open(to, O_RDONLY | O_CLOEXEC);
	if (source < 0) die(from);
	off_t offset = 0;
	for (;;) {
		ssize_t same = target < 0 ? -1 : same_part(source, target, offset);
		if (same == 0) break;
		if (same > 0) {
			offset += same;
			bytes_equal += wait ? (uint64_t)same : 0;
			continue;
		}
		if (!wait || monotonic_ns() > deadline_ns) break;
		usleep(PAUSE_US);
		/* Opened anew each time: many tools replace the file by rename. */
		if (target >= 0) close(target);
		target = open(to, O_RDONLY | O_CLOEXEC);
	}
	bool equal = target >= 0 && same_part(source, target, offset) == 0;
	close(source);
	if (target >= 0) close(target);
	return equal;
}

static size_t pass(bool wait) {
	size_t different = 0;
	for (size_t i = 0; i < name_count; i++) different += !same_file(names[i], wait);
	return different;
}

int main(int argc, char **argv) {
	if (argc != 4) {
		fprintf(stderr, "usage: treecmp SOURCE TARGET TIMEOUT_MS\n");
		return 2;
	}
	struct sched_param priority = {0};
	sched_setscheduler(0, SCHED_IDLE, &priority);
	source_root = argv[1];
	target_root = argv[2];
	deadline_ns = monotonic_ns() + number_argument("timeout", argv[3]) * NS_PER_MS;
	source_prefix = strlen(source_root);
	if (nftw(source_root, collect, 64, FTW_PHYS) != 0) die(source_root);
	size_t different = pass(true);
	uint64_t equal_ns = different == 0 ? monotonic_ns() : 0;
	if (different == 0) different = pass(false);
	nftw(target_root, count_extra, 64, FTW_PHYS);
	printf("{\"equalNs\":%llu,\"files\":%zu,\"bytes\":%llu,\"different\":%zu,\"extra\":%zu}\n",
		(unsigned long long)(different == 0 ? equal_ns : 0), name_count,
		(unsigned long long)bytes_equal, different, extra_count);
	return different == 0 ? 0 : 1;
}

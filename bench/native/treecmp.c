// SPDX-License-Identifier: MIT
/*
 * Waits until a target folder holds the same files with the same bytes as a source that has come
 * to rest, and says when that was: the judge of "equal", which trusts no product.
 *
 * Usage: treecmp SOURCE TARGET TIMEOUT_MS. Both are folders, or both are files. Prints JSON:
 * equalNs (monotonic moment since which both were equal, 0 if never), foundNs (when the first pass
 * had seen all of it), files, bytes, different (parts that never became equal), extra (files in the
 * target that the source has not). Exit 0 equal, 1 not, 2 it cannot be judged.
 *
 * One pass waits at the first part that differs and goes on when it has become equal, so that
 * polling costs little while the product is at work; a second pass without waiting confirms all
 * parts, since a part could have been equal by chance and overwritten later by something stale.
 * Runs with SCHED_IDLE for the reason given in stopwatch.c. So the passes end late: they get no
 * time while the product wants both cores, and have all bytes to read when it is done.
 *
 * Therefore the moment of equality is not the moment of the look. It is the last change of
 * anything in either tree: the largest ctime of all files and directories, taken after the second
 * pass. Nothing has changed since then, and the bytes were equal later: they were equal then.
 * Directories count, because the rename of one changes nothing in the files below it.
 * The kernel keeps ctime by a clock that may stand still for a tick, so a tick is added. What
 * changes later without changing bytes (setting times) makes the moment later, never earlier. If it
 * lies behind the look, or cannot be known, the look counts: foundNs.
 * Limits: ctime is set as a write call begins, so the last call may end later by its own length,
 * unless something comes after it (rsync, Lockstep and others set times). Stores through a mapping
 * set it at most once per page. A clock that was set between the change and the start of this
 * program goes unnoticed.
 * Source: inode(7), clock_getres(2), fs/inode.c inode_set_ctime_current(), mm/filemap.c.
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
/* Two readings of the clocks' distance differ by less, unless somebody has set the clock. */
#define CLOCK_SET_NS (NS_PER_MS)

static char **names;
static size_t name_count, name_room, source_prefix, extra_count;
static const char *source_root, *target_root;
static uint64_t deadline_ns, bytes_equal;

/* The last change seen by the walk under way, by the realtime clock. */
static uint64_t changed_ns;
/* Something could not be looked at, so there may have been a later change. */
static bool change_unknown;

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

static int note_change(const char *path, const struct stat *found, int kind, struct FTW *where) {
	(void)path;
	(void)where;
	if (kind == FTW_NS || kind == FTW_DNR) {
		change_unknown = true;
		return 0;
	}
	uint64_t at_ns = (uint64_t)found->st_ctim.tv_sec * NS_PER_S + (uint64_t)found->st_ctim.tv_nsec;
	if (at_ns > changed_ns) changed_ns = at_ns;
	return 0;
}

static int walk_target(const char *path, const struct stat *found, int kind, struct FTW *where) {
	note_change(path, found, kind, where);
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

/* How far the realtime clock is ahead of the monotonic one; the closest of a few readings. */
static uint64_t clock_distance_ns(void) {
	uint64_t distance = 0, span = UINT64_MAX;
	for (int reading = 0; reading < 5; reading++) {
		uint64_t before = monotonic_ns(), now = clock_ns(CLOCK_REALTIME), after = monotonic_ns();
		if (after - before >= span) continue;
		span = after - before;
		distance = now - before - span / 2;
	}
	return distance;
}

/* The monotonic moment of the last change, rounded up by a tick; `found_ns` if that is sooner. */
static uint64_t equal_since_ns(uint64_t found_ns, uint64_t distance_before) {
	uint64_t distance = clock_distance_ns();
	int64_t moved = (int64_t)(distance - distance_before);
	if (change_unknown || moved > (int64_t)CLOCK_SET_NS || moved < -(int64_t)CLOCK_SET_NS)
		return found_ns;
	struct timespec tick;
	if (clock_getres(CLOCK_REALTIME_COARSE, &tick) != 0) die("clock_getres");
	int64_t tick_ns = tick.tv_sec * (int64_t)NS_PER_S + tick.tv_nsec;
	int64_t since = (int64_t)(changed_ns - distance) + tick_ns;
	/* Negative: not changed since the machine was started. 0 would say "never equal". */
	if (since < 1) since = 1;
	return (uint64_t)since < found_ns ? (uint64_t)since : found_ns;
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
	uint64_t began = clock_ns(CLOCK_REALTIME), distance = clock_distance_ns();
	deadline_ns = monotonic_ns() + number_argument("timeout", argv[3]) * NS_PER_MS;
	source_prefix = strlen(source_root);
	if (nftw(source_root, collect, 64, FTW_PHYS) != 0) die(source_root);
	size_t different = pass(true);
	uint64_t found_ns = different == 0 ? monotonic_ns() : 0;
	if (different == 0) different = pass(false);
	/* After the second pass: a change that this does not see has not been there to be compared. */
	if (nftw(source_root, note_change, 64, FTW_PHYS) != 0) die(source_root);
	if (changed_ns > began) {
		fprintf(stderr, "treecmp: %s has changed while it was compared\n", source_root);
		return 2;
	}
	if (nftw(target_root, walk_target, 64, FTW_PHYS) != 0) change_unknown = true;
	if (different != 0) found_ns = 0;
	printf("{\"equalNs\":%llu,\"foundNs\":%llu,\"files\":%zu,\"bytes\":%llu,\"different\":%zu,"
		   "\"extra\":%zu}\n",
		(unsigned long long)(found_ns == 0 ? 0 : equal_since_ns(found_ns, distance)),
		(unsigned long long)found_ns, name_count, (unsigned long long)bytes_equal, different,
		extra_count);
	return different == 0 ? 0 : 1;
}

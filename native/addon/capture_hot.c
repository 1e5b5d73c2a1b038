/* SPDX-License-Identifier: MIT */
/*
 * Hot extents (docs/adr/0034-hot-extents.md): reads what a cut still needs of a few files while
 * others write to them, and goes on until, for a moment, nothing was touched after it was read.
 *
 * Each pass reads what is wanted, looks what the kernel has told meanwhile, and wants that.
 * JavaScript gets the records of all drains, as of any drain, and decides whether the cut is
 * closed: what was told of anything but a plain write to a listed file is not understood here.
 *
 * A write that has not returned is told of by nobody yet. What was read last may hold a part of
 * one: it is read once more after the look, and counts when both are the same. A file is asked for
 * its size and times after that: such a write may have set them already, and is told later.
 */
#include "capture_names.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The same in src/capture/hot-reading.ts. */
enum { FILES, EXTENTS, PASSES, OUTCOME, BYTES, HEAD_SLOTS = 8 };
enum { FD, KEY, GEN, MODE, STAT, FILE_SLOTS = 24, FILES_MAX = 64 };
enum { FILE_INDEX, FROM, LENGTH, DATA_AT, EXTENT_SLOTS = 4, EXTENTS_MAX = 2048 };
enum { BUSY, CLOSED, UNFIT };
#define PASSES_MAX 1024
#define READ_BYTES_MAX (64 << 20)
#define TWICE_BYTES_MAX 65536
#define LOOKS_MAX (8 << 20)
enum { EXTENTS_AT = HEAD_SLOTS + FILES_MAX * FILE_SLOTS };
#define ALL_SLOTS (EXTENTS_AT + EXTENTS_MAX * EXTENT_SLOTS)

enum { STAT_MODE = 2, STAT_SIZE = 7, STAT_BLOCKS = 12 };
#define BLOCK_BYTES 512
/* Slots of a record: src/capture/records.ts. */
enum { R_KIND, R_KEY, R_GEN, R_POSITION, R_LENGTH, R_FLAGS = 6, R_NAME_BYTES = 9 };

struct hot {
	double *slots;
	uint8_t *data;
	size_t room, read_bytes, looks;
	bool unfit;
	/* Of each extent, what of it is to be read, and what was read in this pass. */
	struct span { double from, to; } wanted[EXTENTS_MAX], read[EXTENTS_MAX];
};

static double *file_at(struct hot *h, int file)
{
	return h->slots + HEAD_SLOTS + file * FILE_SLOTS;
}

static double *extent_at(struct hot *h, int extent)
{
	return h->slots + EXTENTS_AT + extent * EXTENT_SLOTS;
}

static void want(struct hot *h, int extent, double from, double to)
{
	struct span *w = &h->wanted[extent];
	bool none = w->to <= w->from;
	if (none || from < w->from) w->from = from;
	if (none || to > w->to) w->to = to;
}

static bool append(struct hot *h, int file, double from, double to)
{
	int count = (int)h->slots[EXTENTS];
	double used = h->slots[BYTES];
	if (count == EXTENTS_MAX || used + (to - from) > (double)h->room) return false;
	double *e = extent_at(h, count);
	e[FILE_INDEX] = file;
	e[FROM] = from;
	e[LENGTH] = to - from;
	e[DATA_AT] = used;
	h->slots[BYTES] = used + (to - from);
	h->slots[EXTENTS] = count + 1;
	h->wanted[count] = (struct span){ from, to };
	return true;
}

/* [from, to) of a file has been written: what is listed of it is read anew, the rest is listed. */
static bool touch(struct hot *h, int file, double from, double to)
{
	for (double at = from; at < to;) {
		double end = to;
		bool found = false;
		h->looks += (size_t)h->slots[EXTENTS];
		if (h->looks > LOOKS_MAX) return false;
		for (int i = 0; i < (int)h->slots[EXTENTS] && !found; i++) {
			double *e = extent_at(h, i), e_to = e[FROM] + e[LENGTH];
			if ((int)e[FILE_INDEX] != file || e_to <= at || e[FROM] >= end) continue;
			found = e[FROM] <= at;
			end = found ? (e_to < to ? e_to : to) : e[FROM];
			if (found) want(h, i, at, end);
		}
		if (!found && !append(h, file, at, end)) return false;
		at = end;
	}
	return true;
}

static bool read_exactly(int fd, uint8_t *to, size_t length, double position)
{
	ssize_t n;
	do n = pread(fd, to, length, (off_t)position);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)length;
}

/* Reads what is wanted. */
static bool read_wanted(struct hot *h)
{
	for (int i = 0; i < (int)h->slots[EXTENTS]; i++) {
		struct span w = h->wanted[i];
		h->read[i] = h->wanted[i] = (struct span){ 0, 0 };
		if (w.to <= w.from) continue;
		double *e = extent_at(h, i);
		int fd = (int)file_at(h, (int)e[FILE_INDEX])[FD];
		size_t length = (size_t)(w.to - w.from);
		uint8_t *to = h->data + (size_t)(e[DATA_AT] + w.from - e[FROM]);
		if (!read_exactly(fd, to, length, w.from)) return false;
		h->read[i] = w;
		h->read_bytes += length;
	}
	return true;
}

/*
 * Asks the files whose extents were read. False: one is not what it was, does not reach that far,
 * or has holes, which nobody has looked for.
 */
static bool all_fit(struct hot *h)
{
	bool known[FILES_MAX] = { false };
	for (int i = 0; i < (int)h->slots[EXTENTS]; i++) {
		double *e = extent_at(h, i), *file = file_at(h, (int)e[FILE_INDEX]), *stat = file + STAT;
		bool *is_known = &known[(int)e[FILE_INDEX]];
		if (!*is_known && stat_brief((int)file[FD], stat)) return false;
		*is_known = true;
		if (stat[STAT_MODE] != file[MODE] || e[FROM] + e[LENGTH] > stat[STAT_SIZE] ||
		    stat[STAT_BLOCKS] * BLOCK_BYTES < stat[STAT_SIZE])
			return false;
	}
	return true;
}

/* Reads once more what was read last. False: it was not the same, and is wanted again. */
static bool is_same_twice(struct hot *h)
{
	static uint8_t twice[TWICE_BYTES_MAX];
	bool same = true;
	size_t left = sizeof twice;
	for (int i = (int)h->slots[EXTENTS] - 1; i >= 0 && left > 0; i--) {
		struct span r = h->read[i];
		double *e = extent_at(h, i), *file = file_at(h, (int)e[FILE_INDEX]);
		size_t length = (size_t)(r.to - r.from);
		if (length == 0) continue;
		if (length > left) {
			r.from = r.to - (double)left;
			length = left;
		}
		left -= length;
		h->read_bytes += length;
		const uint8_t *first = h->data + (size_t)(e[DATA_AT] + r.from - e[FROM]);
		bool read = read_exactly((int)file[FD], twice, length, r.from);
		if (read && memcmp(first, twice, length) == 0) continue;
		want(h, i, r.from, r.to);
		same = false;
	}
	return same;
}

/* Wants what the records from `at` on say was written. True if that is anything. */
static bool touch_told(struct hot *h, const struct out *o, size_t at)
{
	bool touched = false;
	while (at < o->used) {
		const double *r = (const double *)(o->data + at);
		at += (SLOTS * sizeof(double) + (size_t)r[R_NAME_BYTES] + 7) & ~(size_t)7;
		if (r[R_KIND] != LS_OP_WRITE || r[R_FLAGS] != 0) continue;
		for (int f = 0; f < (int)h->slots[FILES]; f++) {
			const double *file = file_at(h, f);
			if (file[KEY] != r[R_KEY] || file[GEN] != r[R_GEN]) continue;
			touched = true;
			if (!touch(h, f, r[R_POSITION], r[R_POSITION] + r[R_LENGTH])) h->unfit = true;
		}
	}
	return touched;
}

static int chase(struct hot *h, struct capture_state *c, struct out *o)
{
	for (int pass = 1;; pass++) {
		size_t told = o->used;
		h->slots[PASSES] = pass;
		if (!read_wanted(h)) return UNFIT;
		/* A record that grew would be seen by nobody. */
		o->last = NULL;
		capture_drain(c, o);
		bool touched = touch_told(h, o, told);
		if (h->unfit) return UNFIT;
		if (o->full) return BUSY;
		if (!touched && is_same_twice(h)) return all_fit(h) ? CLOSED : UNFIT;
		if (pass == PASSES_MAX || h->read_bytes > READ_BYTES_MAX) return BUSY;
	}
}

/*
 * captureReadHot(handle, slots, data, records): as captureDrain, of all drains together. The files
 * and extents in `slots` are read into `data`, those that were touched meanwhile too.
 */
FUNCTION(fn_read_hot)
{
	static struct hot h;
	struct args a = args_of(env, info);
	struct capture_state *c = arg_handle(&a, 0);
	struct bytes slots = arg_bytes(&a, 1), data = arg_bytes(&a, 2), records = arg_bytes(&a, 3);
	struct out o = { .data = records.data, .size = records.length };
	memset(&h, 0, sizeof h);
	h.slots = (double *)slots.data;
	h.data = data.data;
	h.room = data.length;
	if (slots.length < ALL_SLOTS * sizeof(double)) {
		napi_throw_error(env, "HOT", "hot extents have their slots");
		return NULL;
	}
	for (int i = 0; i < (int)h.slots[EXTENTS]; i++) {
		const double *e = extent_at(&h, i);
		want(&h, i, e[FROM], e[FROM] + e[LENGTH]);
	}
	begun_look(&c->begun);
	h.slots[OUTCOME] = chase(&h, c, &o);
	return number(env, (double)(o.used * 2 + o.full));
}

void capture_hot_exports(napi_env env, napi_value exports)
{
	export_function(env, exports, "captureReadHot", fn_read_hot);
}

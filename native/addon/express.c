/* SPDX-License-Identifier: MIT */
/*
 * The express lane: one small write to a file that was written lately passes either end of a link
 * before JavaScript is called (docs/adr/0031-express-lane.md). At the source it is taken from the
 * ring, read, framed, encrypted and sent; at the target decrypted, looked through, put down in the
 * journal and written.
 *
 * The lane only runs ahead. JavaScript says beforehand what it expects (slots below), is told what
 * was found, and then goes the same way itself, less the reading, sending and writing; the source
 * compares every byte. Whatever is not exactly the expected case is left to JavaScript as it is. As
 * in every cut, what the source has read counts only if the kernel has nothing more to tell then.
 */
#include "addon.h"
#include "mapped_file.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The same in src/world/express.ts. */
enum {
	ARMED, RESULT, POSITION, LENGTH, COUNT, CHOSEN, WRITTEN, LENGTH_MAX, EPOCH, TIME_US, WALL_MS,
	FRAME_BYTES, PAUSE_US, STAT = 16, FILES = 32, FILES_MAX = 4, EXPRESS_SLOTS = 64,
};
/* Of one file that is expected to be written, from FILES on. */
enum { FD, NODE, INO, GEN, MODE, ORIGIN, FILE_SLOTS = 8 };
enum { STAT_MODE = 2, STAT_MTIME = 8, STAT_CTIME = 10 };

/* Of the target's end, which needs no stat record. */
enum { JOURNAL_FD = STAT, JOURNAL_AT, JOURNAL_END, JOURNAL_GENERATION, JOURNAL_NUMBER };
/* src/journal/journal-format.ts. */
enum { RECORD_HEAD_BYTES = 32, RECORD_TAIL_BYTES = 24 };
#define RECORD_HEAD_MAGIC 0x4a534c31u
#define RECORD_TAIL_MAGIC 0x314c534au

/* src/wire/protocol.ts. */
enum { FRAME_WRITE = 33, FRAME_TIMES = 44, FRAME_COMMIT = 46 };
enum { HEADER_BYTES = 5, WRITE_BYTES = 12, TIMES_BYTES = 16, CTIME_BYTES = 12, COMMIT_BYTES = 25 };
enum { CHECKED_BYTES = 24, FRAMES_BYTES = 128 };

struct express {
	napi_ref kept[3];
	void *poll, *capture, *tls;
	double *slots;
	uint8_t *bytes;
	size_t room;
	/* The target's journal, where it is mapped; whoever made it closes it. */
	struct mapped_file *journal;
	napi_ref kept_journal;
};

/* The expected file with these numbers at `slot` and behind it, which becomes the chosen one. */
static const double *choose(double *s, int slot, double first, double second)
{
	for (int i = 0; i < FILES_MAX && i < (int)s[COUNT]; i++) {
		const double *file = s + FILES + i * FILE_SLOTS;
		if (file[slot] != first || (slot == INO && file[GEN] != second)) continue;
		s[CHOSEN] = i;
		return file;
	}
	return NULL;
}

/* Little-endian as on the wire, like all that this runs on. */
static void put32(uint8_t *to, uint32_t value)
{
	memcpy(to, &value, sizeof value);
}

static void put64(uint8_t *to, double value)
{
	memcpy(to, &value, sizeof value);
}

static uint32_t get32(const uint8_t *from)
{
	uint32_t value;
	memcpy(&value, from, sizeof value);
	return value;
}

static double get64(const uint8_t *from)
{
	double value;
	memcpy(&value, from, sizeof value);
	return value;
}

static void head(uint8_t *frame, uint8_t type, size_t payload)
{
	put32(frame, (uint32_t)payload + 1);
	frame[4] = type;
}

/* mixChecksum() of src/wire/protocol.ts, for a whole frame. */
static uint32_t mix(uint32_t checksum, const uint8_t *frame, size_t payload)
{
	size_t length = payload + 1, last = length < CHECKED_BYTES ? length : CHECKED_BYTES;
	uint32_t h = (checksum ^ (uint32_t)length) * 0x9e3779b1u;
	for (size_t i = 0; i < last; i++) h = (h ^ frame[4 + i]) * 0x01000193u;
	return h ^ (h >> 15);
}

/* --- the source's end ------------------------------------------------------------------------- */

/* WRITE, whose content is there already; TIMES; COMMIT. The bytes of all. */
static size_t frame(struct express *x, const double *file)
{
	double *s = x->slots;
	const double *stat = s + STAT;
	uint8_t *write = x->bytes;
	size_t write_payload = WRITE_BYTES + (size_t)s[LENGTH];
	head(write, FRAME_WRITE, write_payload);
	put32(write + 5, (uint32_t)file[NODE]);
	put64(write + 9, s[POSITION]);

	uint8_t *times = write + HEADER_BYTES + write_payload;
	size_t times_payload = TIMES_BYTES + (file[ORIGIN] ? CTIME_BYTES : 0);
	head(times, FRAME_TIMES, times_payload);
	put32(times + 5, (uint32_t)file[NODE]);
	put64(times + 9, stat[STAT_MTIME]);
	put32(times + 17, (uint32_t)stat[STAT_MTIME + 1]);
	if (file[ORIGIN]) {
		put64(times + 21, stat[STAT_CTIME]);
		put32(times + 29, (uint32_t)stat[STAT_CTIME + 1]);
	}

	uint8_t *commit = times + HEADER_BYTES + times_payload;
	head(commit, FRAME_COMMIT, COMMIT_BYTES);
	put64(commit + 5, s[EPOCH]);
	put32(commit + 13, 2);
	put32(commit + 17, mix(mix(0, write, write_payload), times, times_payload));
	commit[21] = 0;
	put64(commit + 22, s[WALL_MS]);
	return (size_t)(commit - write) + HEADER_BYTES + COMMIT_BYTES;
}

static bool read_all(int fd, uint8_t *to, size_t length, double position)
{
	ssize_t n;
	do n = pread(fd, to, length, (off_t)position);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)length;
}

/* The kernel has something to tell. True: it has been sent. */
static bool send_ahead(void *data)
{
	struct express *x = data;
	double *s = x->slots, *stat = s + STAT;
	struct lone_write w;
	if (s[ARMED] == 0 || !tls_is_clear(x->tls) || !capture_lone(x->capture, &w)) return false;
	const double *file = choose(s, INO, w.key, w.gen);
	bool fits = (double)w.length <= s[LENGTH_MAX] && w.length + FRAMES_BYTES <= x->room;
	if (!file || !fits) return false;
	int fd = (int)file[FD];
	s[POSITION] = (double)w.position;
	s[LENGTH] = (double)w.length;
	s[TIME_US] = (double)w.time_ns / 1000;
	if (stat_brief(fd, stat) || stat[STAT_MODE] != file[MODE]) return false;
	if (s[PAUSE_US] > 0) usleep((useconds_t)s[PAUSE_US]);
	if (!read_all(fd, x->bytes + HEADER_BYTES + WRITE_BYTES, w.length, s[POSITION])) return false;
	/* Nothing else has happened up to here, if it is still alone. */
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (!capture_lone(x->capture, &w)) return false;
	s[WALL_MS] = (double)now.tv_sec * 1000 + (double)(now.tv_nsec / 1000000);
	size_t bytes = frame(x, file);
	s[ARMED] = 0;
	s[FRAME_BYTES] = (double)bytes;
	s[RESULT] = (double)tls_put(x->tls, x->bytes, bytes);
	capture_pass_lone(x->capture);
	return true;
}

/* --- the target's end ------------------------------------------------------------------------- */

static bool is_whole(double value)
{
	return value >= 0 && value < 9007199254740992.0 && value == (double)(uint64_t)value;
}

/* Whether these bytes are one WRITE, a TIMES, and the COMMIT of the two. */
static bool is_lone_epoch(const uint8_t *b, size_t bytes)
{
	if (bytes < 3 * HEADER_BYTES + WRITE_BYTES + TIMES_BYTES + COMMIT_BYTES) return false;
	size_t commit_at = bytes - HEADER_BYTES - COMMIT_BYTES;
	size_t write_payload = (size_t)get32(b) - 1, times_at = HEADER_BYTES + write_payload;
	if (b[4] != FRAME_WRITE || write_payload <= WRITE_BYTES || write_payload > bytes) return false;
	if (times_at + HEADER_BYTES + TIMES_BYTES > commit_at) return false;
	size_t times_payload = commit_at - times_at - HEADER_BYTES;
	const uint8_t *times = b + times_at, *commit = b + commit_at;
	return is_whole(get64(b + 9)) && times[4] == FRAME_TIMES && get32(times) == times_payload + 1 &&
	       commit[4] == FRAME_COMMIT && get32(commit) == COMMIT_BYTES + 1 &&
	       is_whole(get64(commit + 5)) && get32(commit + 13) == 2 &&
	       get32(commit + 17) == mix(mix(0, b, write_payload), times, times_payload) &&
	       commit[21] == 0;
}

/* Puts the epoch down before any of it is carried out. True also where there is no journal. */
static bool record_ahead(struct express *x, size_t bytes)
{
	double *s = x->slots;
	if (s[JOURNAL_FD] < 0) return true;
	uint8_t head[RECORD_HEAD_BYTES] = { 0 }, tail[RECORD_TAIL_BYTES] = { 0 };
	size_t all = sizeof head + bytes + sizeof tail;
	if (s[JOURNAL_AT] + (double)all > s[JOURNAL_END]) return false;
	put32(head, RECORD_HEAD_MAGIC);
	put64(head + 8, (double)bytes);
	put32(head + 16, (uint32_t)s[JOURNAL_GENERATION]);
	put32(head + 20, (uint32_t)s[JOURNAL_NUMBER]);
	put32(tail, RECORD_TAIL_MAGIC);
	put32(tail + 4, (uint32_t)s[JOURNAL_GENERATION]);
	put32(tail + 8, (uint32_t)s[JOURNAL_NUMBER]);
	struct iovec parts[3] = {
		{ head, sizeof head }, { x->bytes, bytes }, { tail, sizeof tail },
	};
	if (mapped_file_store(x->journal, s[JOURNAL_AT], parts, 3)) return true;
	mapped_file_close(x->journal);
	ssize_t n = pwritev((int)s[JOURNAL_FD], parts, 3, (off_t)s[JOURNAL_AT]);
	return n == (ssize_t)all;
}

/* The peer has sent something. True: it has been read, and perhaps written. */
static bool write_ahead(void *data)
{
	struct express *x = data;
	double *s = x->slots;
	if (s[ARMED] == 0) return false;
	int64_t got = tls_get(x->tls, x->bytes, x->room);
	if (got == -EAGAIN) return false;
	s[ARMED] = 0;
	s[RESULT] = (double)got;
	if (got <= 0 || !is_lone_epoch(x->bytes, (size_t)got / 2)) return true;
	const double *file = choose(s, NODE, get32(x->bytes + 5), 0);
	if (!file || !record_ahead(x, (size_t)got / 2)) return true;
	size_t length = (size_t)get32(x->bytes) - 1 - WRITE_BYTES;
	const uint8_t *content = x->bytes + HEADER_BYTES + WRITE_BYTES;
	ssize_t n = pwrite((int)file[FD], content, length, (off_t)get64(x->bytes + 9));
	s[WRITTEN] = n == (ssize_t)length;
	return true;
}

/* --- calls ------------------------------------------------------------------------------------ */

static void free_lane(napi_env env, void *data, void *hint)
{
	free(data);
}

/*
 * expressOpen(poll, capture, tls, Float64Array(64), bytes): handle. The source's end, on the poll
 * of its capture; without a capture the target's, on the poll of the connection. To be closed
 * before any of the three is.
 */
FUNCTION(fn_express_open)
{
	struct args a = args_of(env, info);
	struct bytes slots = arg_bytes(&a, 3), bytes = arg_bytes(&a, 4);
	struct express *x = calloc(1, sizeof *x);
	napi_value out;
	x->poll = arg_handle(&a, 0);
	x->capture = arg_handle(&a, 1);
	x->tls = arg_handle(&a, 2);
	x->slots = (double *)slots.data;
	x->bytes = bytes.data;
	x->room = bytes.length;
	if (!x->poll || !x->tls || slots.length < EXPRESS_SLOTS * sizeof(double)) {
		free(x);
		napi_throw_error(env, "EXPRESS", "an express lane has a poll, a connection and its slots");
		return NULL;
	}
	for (int i = 0; i < 3; i++) napi_create_reference(env, a.value[2 + i], 1, &x->kept[i]);
	poll_try_first(x->poll, x->capture ? send_ahead : write_ahead, x);
	napi_create_external(env, x, free_lane, NULL, &out);
	return out;
}

static void keep_journal(napi_env env, struct express *x, struct mapped_file *journal,
			 napi_value of)
{
	if (x->kept_journal) napi_delete_reference(env, x->kept_journal);
	x->kept_journal = NULL;
	x->journal = journal;
	if (journal) napi_create_reference(env, of, 1, &x->kept_journal);
}

/* expressJournal(handle, map): what is mapped of the journal that the slots name, or undefined. */
FUNCTION(fn_express_journal)
{
	struct args a = args_of(env, info);
	keep_journal(env, arg_handle(&a, 0), arg_handle(&a, 1), a.value[1]);
	return NULL;
}

/* expressClose(handle): idempotent. */
FUNCTION(fn_express_close)
{
	struct args a = args_of(env, info);
	struct express *x = arg_handle(&a, 0);
	if (!x->poll) return NULL;
	poll_try_first(x->poll, NULL, NULL);
	x->poll = NULL;
	keep_journal(env, x, NULL, NULL);
	for (int i = 0; i < 3; i++) napi_delete_reference(env, x->kept[i]);
	return NULL;
}

void express_exports(napi_env env, napi_value exports)
{
	export_function(env, exports, "expressOpen", fn_express_open);
	export_function(env, exports, "expressJournal", fn_express_journal);
	export_function(env, exports, "expressClose", fn_express_close);
}

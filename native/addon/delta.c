/* SPDX-License-Identifier: MIT */
/*
 * The rolling-checksum delta (A. Tridgell, "Efficient Algorithms for Sorting and Synchronization",
 * 1999, chapter 3): the loops that look at every byte. What calls them is src/delta; why these sums
 * and bounds: docs/adr/0021-delta.md.
 *
 * The weak sum of x[0..n) is a | b << 16, with a the sum of the bytes and b that of all a on the
 * way, both modulo 2^16. The strong one is the first 8 bytes of SHA-256 over salt and block, by the
 * OpenSSL that node carries (declared by hand, as in tls.c).
 *
 * Nothing here keeps state: what is needed again is in arrays of the caller. Bounded in one call:
 * bytes read (the buffer) and bytes hashed (WORK_BYTES); in a bucket: BUCKET_BLOCKS; in a file:
 * strong sums of blocks that only looked right (SLOT_FALSE_HITS).
 */
#include "addon.h"
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

typedef struct evp_md_st EVP_MD;
typedef struct evp_md_ctx_st EVP_MD_CTX;
extern EVP_MD *EVP_MD_fetch(void *library, const char *name, const char *properties);
extern EVP_MD_CTX *EVP_MD_CTX_new(void);
extern void EVP_MD_CTX_free(EVP_MD_CTX *context);
extern int EVP_DigestInit_ex(EVP_MD_CTX *context, const EVP_MD *type, void *engine);
extern int EVP_DigestUpdate(EVP_MD_CTX *context, const void *data, size_t bytes);
extern int EVP_DigestFinal_ex(EVP_MD_CTX *context, unsigned char *out, unsigned *bytes);

#define DIGEST_BYTES 32
#define STRONG_BYTES 8
#define SALT_BYTES 16
#define BUCKET_BLOCKS 16
/* The filter has a bit for each 32nd of a bucket: as many words as there are buckets. */
#define FINE_BITS 5
#define WORK_BYTES (4 << 20)
#define NOWHERE INT64_MAX

/* The caller's Float64Array; the same numbers stand in src/world/files.ts. */
enum {
	SLOT_BLOCK_BYTES,
	SLOT_BASIS_BYTES,
	SLOT_END,
	SLOT_AT,
	SLOT_BUFFER_AT,
	SLOT_BUFFER_BYTES,
	SLOT_SHIFT,
	SLOT_FALSE_HITS,
	SLOT_MULTIPLIER,
	SLOT_BUCKET_BITS,
	SLOT_DONE,
	SLOTS,
};

/* A context that begins with the same digest again and again; NULL when node has no OpenSSL 3. */
static EVP_MD_CTX *new_digest(void)
{
	static EVP_MD *sha256;
	if (!dlsym(RTLD_DEFAULT, "EVP_MD_fetch")) {
		errno = ENOSYS;
		return NULL;
	}
	if (!sha256) sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	EVP_MD_CTX *c = sha256 ? EVP_MD_CTX_new() : NULL;
	if (c && EVP_DigestInit_ex(c, sha256, NULL) == 1) return c;
	EVP_MD_CTX_free(c);
	errno = ENOMEM;
	return NULL;
}

static bool strong_of(EVP_MD_CTX *c, const uint8_t *salt, const uint8_t *x, size_t n, uint8_t *out)
{
	uint8_t digest[DIGEST_BYTES];
	/* Without a type it begins again with the one it has, and looks up nothing. */
	bool ok = EVP_DigestInit_ex(c, NULL, NULL) == 1 &&
		  EVP_DigestUpdate(c, salt, SALT_BYTES) == 1 && EVP_DigestUpdate(c, x, n) == 1 &&
		  EVP_DigestFinal_ex(c, digest, NULL) == 1;
	if (ok) memcpy(out, digest, STRONG_BYTES);
	return ok;
}

struct weak {
	uint32_t a, b;
};

/* Sixteen bytes at a time: b gains sixteen times the a before them, and each byte by its place. */
static struct weak weak_of(const uint8_t *x, size_t n)
{
	uint32_t a = 0, b = 0;
	size_t i = 0;
	for (; i + 16 <= n; i += 16) {
		uint32_t sum = 0, placed = 0;
		for (uint32_t j = 0; j < 16; j++) {
			sum += x[i + j];
			placed += (16 - j) * x[i + j];
		}
		b += 16 * a + placed;
		a += sum;
	}
	for (; i < n; i++) {
		a += x[i];
		b += a;
	}
	return (struct weak){ a, b };
}

static uint32_t joined(struct weak w)
{
	return (w.a & 0xffff) | w.b << 16;
}

/* Reads until `n` or the end of the file; -1 with errno. */
static int64_t read_at(int fd, uint8_t *into, size_t n, int64_t position)
{
	size_t done = 0;
	while (done < n) {
		ssize_t r = pread(fd, into + done, n - done, position + (int64_t)done);
		if (r < 0 && errno == EINTR) continue;
		if (r < 0) return -1;
		if (r == 0) break;
		done += (size_t)r;
	}
	return (int64_t)done;
}

static napi_value invalid(napi_env env)
{
	errno = EINVAL;
	return result(env, -1);
}

/*
 * deltaSums(fd, position, end, blockBytes, salt, buffer, out): bytes of [position, end) that the
 * file does not have (they count as zeros). `out` takes the weak sums of all blocks in there, then
 * their strong ones. `buffer` is scratch and holds the whole range.
 */
FUNCTION(delta_sums)
{
	struct args a = args_of(env, info);
	int fd = arg_int(&a, 0);
	int64_t position = arg_int64(&a, 1), end = arg_int64(&a, 2);
	size_t block_bytes = arg_uint(&a, 3);
	struct bytes salt = arg_bytes(&a, 4), buffer = arg_bytes(&a, 5), out = arg_bytes(&a, 6);
	size_t bytes = end > position ? (size_t)(end - position) : 0;
	if (position < 0 || !block_bytes || salt.length < SALT_BYTES || bytes > buffer.length)
		return invalid(env);
	size_t count = (bytes + block_bytes - 1) / block_bytes;
	if (out.length < count * (4 + STRONG_BYTES)) return invalid(env);
	int64_t have = read_at(fd, buffer.data, bytes, position);
	if (have < 0) return result(env, -1);
	memset(buffer.data + have, 0, bytes - (size_t)have);
	EVP_MD_CTX *digest = new_digest();
	if (!digest) return result(env, -1);
	bool ok = true;
	for (size_t i = 0; ok && i < count; i++) {
		const uint8_t *x = buffer.data + i * block_bytes;
		size_t n = bytes - i * block_bytes < block_bytes ? bytes - i * block_bytes : block_bytes;
		uint32_t weak = joined(weak_of(x, n));
		memcpy(out.data + 4 * i, &weak, 4);
		ok = strong_of(digest, salt.data, x, n, out.data + 4 * count + STRONG_BYTES * i);
	}
	EVP_MD_CTX_free(digest);
	if (!ok) errno = EIO;
	return result(env, ok ? (int64_t)bytes - have : -1);
}

/*
 * The table of the basis's whole blocks, in one array: the first block of each bucket, the block
 * after each one in its bucket (both plus 1, so that 0 is none), and a bit for each 32nd of a
 * bucket that has a block in it, which says no to most positions without leaving the cache.
 * Buckets are the upper bits of the weak sum times an odd number that the salt gives: who writes
 * files cannot know which blocks will share one.
 */
struct table {
	uint32_t *first, *next, *filter;
	const uint32_t *weak;
	const uint8_t *strong;
	uint32_t multiplier;
	int bits;
	int64_t count;
};

static bool table_of(struct table *t, const double *state, struct bytes weak, struct bytes strong,
		     struct bytes table)
{
	int64_t count = (int64_t)(weak.length / 4);
	t->bits = (int)state[SLOT_BUCKET_BITS];
	t->multiplier = (uint32_t)state[SLOT_MULTIPLIER];
	if (t->bits < 5 || t->bits > 32 - FINE_BITS) return false;
	if (strong.length < (size_t)count * STRONG_BYTES) return false;
	size_t buckets = (size_t)1 << t->bits;
	if (table.length / 4 < 2 * buckets + (size_t)count) return false;
	t->first = (uint32_t *)table.data;
	t->filter = t->first + buckets;
	t->next = t->filter + buckets;
	t->weak = (const uint32_t *)weak.data;
	t->strong = strong.data;
	t->count = count;
	return true;
}

/*
 * deltaIndex(state, weak, strong, table, from, to): 0. Puts the blocks [from, to) into the table.
 * Of equal blocks only the first is there; a bucket that is full takes no more.
 */
FUNCTION(delta_index)
{
	struct args a = args_of(env, info);
	struct bytes state = arg_bytes(&a, 0);
	struct table t;
	int64_t from = arg_int64(&a, 4), to = arg_int64(&a, 5);
	if (state.length < SLOTS * 8 || !table_of(&t, (double *)state.data, arg_bytes(&a, 1),
						  arg_bytes(&a, 2), arg_bytes(&a, 3)))
		return invalid(env);
	if (from < 0 || to > t.count) return invalid(env);
	for (int64_t i = from; i < to; i++) {
		uint32_t hash = t.weak[i] * t.multiplier, fine = hash >> (32 - t.bits - FINE_BITS);
		const uint8_t *strong = t.strong + i * STRONG_BYTES;
		uint32_t *link = &t.first[hash >> (32 - t.bits)];
		int seen = 0;
		for (; *link && seen < BUCKET_BLOCKS; link = &t.next[*link - 1], seen++) {
			uint32_t other = *link - 1;
			if (t.weak[other] == t.weak[i] &&
			    !memcmp(t.strong + (size_t)other * STRONG_BYTES, strong, STRONG_BYTES))
				break;
		}
		if (*link || seen == BUCKET_BLOCKS) continue;
		*link = (uint32_t)i + 1;
		t.filter[fine >> 5] |= 1u << (fine & 31);
	}
	return result(env, 0);
}

struct search {
	struct table table;
	const uint8_t *salt;
	uint8_t *buffer;
	EVP_MD_CTX *digest;
	int64_t block, basis, whole, end, at, buffer_at, buffer_end, shift, false_hits;
	int64_t work, hashed_at;
	size_t hashed_bytes;
	uint8_t strong[STRONG_BYTES];
	bool failed;
	double *out;
	size_t out_count, out_max;
};

static const uint8_t *byte_at(const struct search *s, int64_t at)
{
	return s->buffer + (at - s->buffer_at);
}

/* Whether the `n` bytes at `at` have the strong sum of a block; computes theirs once. */
static bool is_block(struct search *s, int64_t at, size_t n, int64_t block)
{
	if (s->hashed_at != at || s->hashed_bytes != n) {
		s->failed |= !strong_of(s->digest, s->salt, byte_at(s, at), n, s->strong);
		s->hashed_at = at;
		s->hashed_bytes = n;
		s->work += (int64_t)n;
	}
	return !s->failed && !memcmp(s->table.strong + block * STRONG_BYTES, s->strong, STRONG_BYTES);
}

/* Says that the `n` bytes at `at` are those of a block, and goes on behind them. */
static void match(struct search *s, int64_t at, size_t n, int64_t block)
{
	int64_t basis = block * s->block;
	const double told[3] = { (double)at, (double)n, (double)basis };
	double *last = s->out_count ? s->out + 3 * (s->out_count - 1) : NULL;
	if (last && last[0] + last[1] == told[0] && last[2] + last[1] == told[2])
		last[1] += told[1];
	else
		memcpy(s->out + 3 * s->out_count++, told, sizeof told);
	s->shift = basis - at;
	s->at = at + (int64_t)n;
}

/* The first position from `at` on that a block of the basis has when moved by `shift`. */
static int64_t next_aligned(const struct search *s, int64_t at, int64_t shift)
{
	int64_t ahead = (at + shift) % s->block;
	int64_t next = ahead ? at + s->block - ahead : at;
	return next + shift < s->basis ? next : NOWHERE;
}

static int64_t nearer(int64_t one, int64_t other)
{
	return one < other ? one : other;
}

/* Tries the short block that ends the basis at `at`. */
static bool try_short(struct search *s, int64_t at)
{
	size_t n = (size_t)(s->basis - s->whole * s->block);
	if (!n || at < s->at || at + (int64_t)n > s->buffer_end) return false;
	if (joined(weak_of(byte_at(s, at), n)) != s->table.weak[s->whole]) return false;
	if (!is_block(s, at, n, s->whole)) return false;
	match(s, at, n, s->whole);
	return true;
}

/* Tries the block of the same offset, then the one that follows the last match. */
static bool try_aligned(struct search *s, int64_t at, uint32_t weak)
{
	for (int i = 0; i < 2; i++) {
		int64_t basis = at + (i ? s->shift : 0);
		if (basis % s->block || basis >= s->basis || (i && !s->shift)) continue;
		int64_t block = basis / s->block;
		if (block == s->whole) {
			if (try_short(s, at)) return true;
		} else if (s->table.weak[block] == weak && is_block(s, at, (size_t)s->block, block)) {
			match(s, at, (size_t)s->block, block);
			return true;
		}
	}
	return false;
}

/* Tries the blocks of a bucket. A position that only looked right costs one of the false hits. */
static bool try_bucket(struct search *s, int64_t at, uint32_t weak, uint32_t hash)
{
	const struct table *t = &s->table;
	bool looked_right = false;
	uint32_t link = t->first[hash >> (32 - t->bits)];
	for (int seen = 0; link && seen < BUCKET_BLOCKS; link = t->next[link - 1], seen++) {
		if (t->weak[link - 1] != weak) continue;
		looked_right = true;
		if (!is_block(s, at, (size_t)s->block, link - 1)) continue;
		match(s, at, (size_t)s->block, link - 1);
		return true;
	}
	s->false_hits -= looked_right;
	return false;
}

static bool maybe(const struct table *t, uint32_t hash)
{
	uint32_t fine = hash >> (32 - t->bits - FINE_BITS);
	return t->filter[fine >> 5] >> (fine & 31) & 1;
}

static void forth(struct weak *w, const uint8_t *x, uint32_t n)
{
	w->a += (uint32_t)x[n] - x[0];
	w->b += w->a - n * x[0];
}

/* The loop over all bytes: from `x` to the first window that the filter knows, or to `stop`. */
static const uint8_t *scan(const struct table *table, const uint8_t *x, const uint8_t *stop,
			   uint32_t n, struct weak *sums)
{
	const struct table t = *table;
	struct weak w = *sums;
	for (; x < stop && !maybe(&t, joined(w) * t.multiplier); x++) forth(&w, x, n);
	*sums = w;
	return x;
}

/* From s->at: byte by byte to the next match, or to the end of the buffer or of the work. */
static void roll(struct search *s)
{
	const struct table *t = &s->table;
	int64_t at = s->at, last = s->buffer_end - s->block;
	struct weak w = weak_of(byte_at(s, at), (size_t)s->block);
	int64_t aligned = nearer(next_aligned(s, at, 0), next_aligned(s, at, s->shift));
	for (;;) {
		const uint8_t *stop = byte_at(s, nearer(aligned, last));
		const uint8_t *x = scan(t, byte_at(s, at), stop, (uint32_t)s->block, &w);
		uint32_t weak = joined(w), hash = weak * t->multiplier;
		at = s->buffer_at + (x - s->buffer);
		if (at == aligned) {
			if (try_aligned(s, at, weak)) return;
			aligned = nearer(next_aligned(s, at + 1, 0), next_aligned(s, at + 1, s->shift));
		}
		if (maybe(t, hash) && try_bucket(s, at, weak, hash)) return;
		if (at == last || s->work > WORK_BYTES || s->false_hits <= 0) break;
		forth(&w, x, (uint32_t)s->block);
		at++;
	}
	s->at = at + 1;
}

/* With no false hits left: only blocks at their own offset, or behind the last match. */
static void leap(struct search *s)
{
	int64_t aligned = nearer(next_aligned(s, s->at, 0), next_aligned(s, s->at, s->shift));
	if (s->at < aligned) {
		s->at = nearer(aligned, s->buffer_end - s->block + 1);
		return;
	}
	uint32_t weak = joined(weak_of(byte_at(s, s->at), (size_t)s->block));
	if (!try_aligned(s, s->at, weak)) s->at++;
}

/* Less than a block is left: only the short block that ends the basis may be there. */
static void finish(struct search *s)
{
	int64_t start = s->whole * s->block;
	if (s->at < s->end && !try_short(s, start) && !try_short(s, start - s->shift))
		try_short(s, s->end - (s->basis - start));
	s->at = s->end;
}

/* Moves what is still looked at to the front and reads behind it. */
static bool refill(struct search *s, int fd, size_t size)
{
	size_t kept = (size_t)(s->buffer_end - s->at), room = size - kept;
	memmove(s->buffer, byte_at(s, s->at), kept);
	s->buffer_at = s->at;
	int64_t left = s->end - s->buffer_end;
	int64_t want = left < (int64_t)room ? left : (int64_t)room;
	int64_t have = read_at(fd, s->buffer + kept, (size_t)want, s->buffer_end);
	if (have < 0) return false;
	s->buffer_end += have;
	if (have < want) s->end = s->buffer_end; /* the file shrank */
	return true;
}

static bool search_load(struct search *s, const double *d, struct bytes buffer)
{
	s->block = (int64_t)d[SLOT_BLOCK_BYTES];
	s->basis = (int64_t)d[SLOT_BASIS_BYTES];
	s->end = (int64_t)d[SLOT_END];
	s->at = (int64_t)d[SLOT_AT];
	s->buffer_at = (int64_t)d[SLOT_BUFFER_AT];
	s->buffer_end = s->buffer_at + (int64_t)d[SLOT_BUFFER_BYTES];
	s->shift = (int64_t)d[SLOT_SHIFT];
	s->false_hits = (int64_t)d[SLOT_FALSE_HITS];
	if (s->block <= 0 || s->basis < 0) return false;
	if (s->at < s->buffer_at || s->at > s->buffer_end) return false;
	s->whole = s->basis / s->block;
	int64_t count = s->whole + (s->basis % s->block > 0);
	return count == s->table.count && s->buffer_end <= s->end &&
	       (size_t)(s->buffer_end - s->buffer_at) <= buffer.length;
}

static void search_store(const struct search *s, double *d)
{
	d[SLOT_END] = (double)s->end;
	d[SLOT_AT] = (double)s->at;
	d[SLOT_BUFFER_AT] = (double)s->buffer_at;
	d[SLOT_BUFFER_BYTES] = (double)(s->buffer_end - s->buffer_at);
	d[SLOT_SHIFT] = (double)s->shift;
	d[SLOT_FALSE_HITS] = (double)s->false_hits;
	d[SLOT_DONE] = s->at >= s->end;
}

/*
 * deltaSearch(fd, state, weak, strong, table, salt, buffer, out): count of matches in `out`, each
 * its position, length and position in the basis. One step; all is told once SLOT_DONE is 1.
 */
FUNCTION(delta_search)
{
	struct args a = args_of(env, info);
	int fd = arg_int(&a, 0);
	struct bytes state = arg_bytes(&a, 1), salt = arg_bytes(&a, 5), buffer = arg_bytes(&a, 6);
	struct bytes out = arg_bytes(&a, 7);
	struct search s = { .salt = salt.data, .buffer = buffer.data, .hashed_at = -1 };
	double *d = (double *)state.data;
	if (state.length < SLOTS * 8 || salt.length < SALT_BYTES ||
	    !table_of(&s.table, d, arg_bytes(&a, 2), arg_bytes(&a, 3), arg_bytes(&a, 4)) ||
	    !search_load(&s, d, buffer))
		return invalid(env);
	s.out = (double *)out.data;
	s.out_max = out.length / 24;
	/* A buffer that takes no byte beyond a block, or no place for matches, would never get on. */
	if (!s.out_max || (s.end > (int64_t)buffer.length && buffer.length <= (size_t)s.block))
		return invalid(env);
	if (s.at + s.block > s.buffer_end && s.buffer_end < s.end && !refill(&s, fd, buffer.length))
		return result(env, -1);
	s.digest = new_digest();
	if (!s.digest) return result(env, -1);
	while (s.at + s.block <= s.buffer_end && s.out_count < s.out_max && s.work <= WORK_BYTES &&
	       !s.failed) {
		if (s.false_hits > 0)
			roll(&s);
		else
			leap(&s);
	}
	bool is_tail = s.buffer_end == s.end && s.at + s.block > s.end;
	if (is_tail && s.out_count < s.out_max) finish(&s);
	EVP_MD_CTX_free(s.digest);
	search_store(&s, d);
	if (s.failed) errno = EIO;
	return result(env, s.failed ? -1 : (int64_t)s.out_count);
}

void delta_exports(napi_env env, napi_value exports)
{
	export_function(env, exports, "deltaSums", delta_sums);
	export_function(env, exports, "deltaIndex", delta_index);
	export_function(env, exports, "deltaSearch", delta_search);
}

/* SPDX-License-Identifier: MIT */
/*
 * Calls that have begun and may have changed something, which the kernel tells of when they return
 * (native/bpf/under_way.h, docs/adr/0036-calls-under-way.md).
 *
 * Each look at what the kernel tells has a number, `moment`. Whoever has read files asks for the
 * calls that have begun since a look and are still under way: all that had begun before and were
 * read have been told since, so one more look finds them.
 *
 * To have the begin of calls noted costs every call of the machine some 30 ns: the program is
 * attached when somebody asks for the first time, and detached when nobody has for a while.
 */
#include "capture_names.h"
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * Most calls that have begun end within some microseconds. Whose thread has lost its core needs one
 * to go on, perhaps this.
 */
#define SPIN_NS 20000
#define WAIT_NS 500000
#define PAUSE_US 50
/* So long after a change by io_uring or Linux AIO another may be under way. */
#define COMPLETION_NS 10000000000ull

static u64 now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000ull + (u64)t.tv_nsec;
}

void begun_look(struct begun *b)
{
	/* A full barrier: who begins before the ring is looked at has an older moment, or is told. */
	if (b->moment) __atomic_fetch_add(b->moment, 1, __ATOMIC_SEQ_CST);
}

static bool attach(struct begun *b)
{
	union bpf_attr attr;
	memset(&attr, 0, sizeof attr);
	attr.raw_tracepoint.prog_fd = (u32)b->program;
	b->link = (int)syscall(SYS_bpf, BPF_RAW_TRACEPOINT_OPEN, &attr, sizeof attr);
	/* Of calls that begin from the next look on all are known. */
	b->known_from = *b->moment + 1;
	return b->link > 0;
}

void begun_rest(struct begun *b)
{
	if (b->link > 0) close(b->link);
	b->link = 0;
}

static u64 tag_of(const struct begun *b, int call)
{
	return __atomic_load_n(&b->calls[call].tag, __ATOMIC_ACQUIRE);
}

/* Whether the tag is of a call that began at one of `count` moments from `since` on. */
static bool began_in(u64 tag, u32 since, u32 count)
{
	return tag && (u32)(tag >> 32) - since < count;
}

/* Waits a little for the calls that began at those moments; how many are left. */
static int wait_for(const struct begun *b, u32 since, u32 count, int left[LS_CALLS_MAX])
{
	int n = 0;
	for (int i = 0; i < LS_CALLS_MAX; i++)
		if (began_in(tag_of(b, i), since, count)) left[n++] = i;
	if (!n) return 0;
	for (u64 began = now_ns(), waited = 0; n && waited < WAIT_NS; waited = now_ns() - began) {
		if (waited > SPIN_NS) usleep(PAUSE_US);
		for (int i = 0; i < n;)
			if (began_in(tag_of(b, left[i]), since, count)) i++;
			else left[i] = left[--n];
	}
	return n;
}

static bool is_known(struct begun *b, u64 since)
{
	u64 completions = __atomic_load_n(b->completions, __ATOMIC_ACQUIRE);
	if (completions != b->completions_seen) {
		b->completions_seen = completions;
		b->completed_ns = now_ns();
	}
	if (b->completed_ns && now_ns() - b->completed_ns < COMPLETION_NS) return false;
	return since >= b->known_from && __atomic_load_n(b->unlisted, __ATOMIC_ACQUIRE) <= since;
}

/*
 * captureBegun(handle, moment, calls): how many calls have begun since that look and not returned,
 * also after a little wait; -1 when that is not known. Of each: the inode's key, 0 for whichever;
 * its generation; the position from which on it is changed. It counts as a look.
 */
FUNCTION(fn_begun)
{
	struct args a = args_of(env, info);
	struct capture_state *c = arg_handle(&a, 0);
	u64 since = (u64)arg_int64(&a, 1);
	struct bytes out = arg_bytes(&a, 2);
	struct begun *b = &c->begun;
	double *slot = (double *)out.data;
	int left[LS_CALLS_MAX];
	/* What was read may be of any call that began before this. */
	begun_look(b);
	if (!b->moment || out.length < LS_CALLS_MAX * 3 * sizeof(double)) return number(env, -1);
	if (b->link <= 0) {
		attach(b);
		return number(env, -1);
	}
	u64 now = *b->moment;
	int n = since < now ? wait_for(b, (u32)since, (u32)(now - since), left) : 0;
	if (!is_known(b, since)) return number(env, -1);
	for (int i = 0; i < n; i++, slot += 3) {
		const struct ls_call *call = &b->calls[left[i]];
		u64 tag = tag_of(b, left[i]);
		u64 ino = __atomic_load_n(&call->ino, __ATOMIC_ACQUIRE);
		slot[1] = call->gen;
		slot[2] = (double)call->pos;
		slot[0] = ino ? inode_key(c, ino, call->filesystem) : 0;
		/* Another one's by now: of whichever. */
		if (tag_of(b, left[i]) != tag) slot[0] = 0;
	}
	return number(env, n);
}

/* captureBegunRest(handle): nobody is going to ask soon. */
FUNCTION(fn_begun_rest)
{
	struct args a = args_of(env, info);
	struct capture_state *c = arg_handle(&a, 0);
	begun_rest(&c->begun);
	return NULL;
}

void capture_begun_exports(napi_env env, napi_value exports)
{
	export_function(env, exports, "captureBegun", fn_begun);
	export_function(env, exports, "captureBegunRest", fn_begun_rest);
}

/* SPDX-License-Identifier: MIT */
/*
 * Lanes: threads that make whole new files while JavaScript's thread goes on (docs/adr/0027).
 *
 * A job is a record in an arena that both sides see: what the file is to be, its name, its content.
 * It is carried out whole or not at all: the file has no name until the last call, so a job that
 * failed has left nothing behind, and JavaScript does the same once more with its own calls.
 * A lane does its jobs in order. What a record holds is JavaScript's again when its state is not
 * JOB_WAITS any more; descriptors in it stay open until then. Threads touch no JavaScript.
 */
#include "addon.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LANES_MAX 4
/* More than an arena holds: a job has a file's name and 64 bytes at least. */
#define QUEUE_MAX 4096

enum { JOB_WAITS = 1, JOB_DONE = 2, JOB_FAILED = 3 };
enum { JOB_META = 1, JOB_TIMES = 2 };

/* The same in src/world/lanes.ts. Followed by the name, a NUL, and the data at data_at. */
struct job {
	int32_t state;
	int32_t error;
	int32_t root_fd;
	int32_t dir_fd;
	uint32_t open_mode;
	uint32_t flags;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t nanoseconds;
	uint32_t data_at;
	uint32_t data_bytes;
	double seconds;
	double reserved;
	char name[];
};
_Static_assert(sizeof(struct job) == 64, "the layout of src/world/lanes.ts");

struct lane {
	struct lanes *all;
	pthread_t thread;
	bool started;
	pthread_cond_t work;
	bool rests;
	struct job *queue[QUEUE_MAX];
	unsigned head, tail;
};

struct lanes {
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool waits;
	bool closing;
	int references;
	unsigned count;
	size_t bytes;
	uint8_t *arena;
	struct lane lane[LANES_MAX];
};

static int open_unnamed(const struct job *j)
{
	struct open_how how = {
		.flags = O_TMPFILE | O_RDWR | O_CLOEXEC,
		.mode = j->open_mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	int fd, tries = 0;
	do fd = (int)syscall(SYS_openat2, j->root_fd, ".", &how, sizeof how);
	while (fd < 0 && errno == EAGAIN && ++tries < 64);
	return fd;
}

static bool write_all(int fd, const uint8_t *from, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = pwrite(fd, from + done, bytes - done, (off_t)done);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return false;
		done += (size_t)n;
	}
	return true;
}

/* A new file mostly has the owner and the permissions that it is to have. */
static bool set_meta(int fd, const struct job *j)
{
	struct stat s;
	if (fstat(fd, &s)) return false;
	bool owned = s.st_uid == j->uid && s.st_gid == j->gid;
	if (!owned && fchown(fd, j->uid, j->gid)) return false;
	return (owned && (s.st_mode & 07777) == j->mode) || !fchmod(fd, j->mode);
}

static bool name_it(int fd, const struct job *j)
{
	if (!linkat(fd, "", j->dir_fd, j->name, AT_EMPTY_PATH)) return true;
	if (errno != ENOENT) return false;
	/* Refused with ENOENT to whom the kernel wants a capability from; /proc needs none. */
	char path[32];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return !linkat(AT_FDCWD, path, j->dir_fd, j->name, AT_SYMLINK_FOLLOW);
}

static int make_file(const struct job *j)
{
	int fd = open_unnamed(j);
	if (fd < 0) return errno;
	struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ .tv_sec = (time_t)j->seconds, .tv_nsec = (long)j->nanoseconds },
	};
	bool ok = write_all(fd, (const uint8_t *)j + j->data_at, j->data_bytes) &&
		  (!(j->flags & JOB_META) || set_meta(fd, j)) &&
		  (!(j->flags & JOB_TIMES) || !futimens(fd, times)) && name_it(fd, j);
	int error = ok ? 0 : errno;
	close(fd);
	return error;
}

static void *work(void *data)
{
	struct lane *own = data;
	struct lanes *all = own->all;
	pthread_mutex_lock(&all->lock);
	for (;;) {
		while (own->head == own->tail && !all->closing) {
			own->rests = true;
			pthread_cond_wait(&own->work, &all->lock);
			own->rests = false;
		}
		if (own->head == own->tail) break;
		struct job *j = own->queue[own->head++ % QUEUE_MAX];
		pthread_mutex_unlock(&all->lock);
		j->error = make_file(j);
		pthread_mutex_lock(&all->lock);
		__atomic_store_n(&j->state, j->error ? JOB_FAILED : JOB_DONE, __ATOMIC_RELEASE);
		if (all->waits) pthread_cond_signal(&all->done);
	}
	pthread_mutex_unlock(&all->lock);
	return NULL;
}

/* Lets the lanes finish what they have been given. Idempotent. */
static void finish(struct lanes *all)
{
	pthread_mutex_lock(&all->lock);
	all->closing = true;
	for (unsigned i = 0; i < all->count; i++) pthread_cond_signal(&all->lane[i].work);
	pthread_mutex_unlock(&all->lock);
	for (unsigned i = 0; i < all->count; i++) {
		if (all->lane[i].started) pthread_join(all->lane[i].thread, NULL);
		all->lane[i].started = false;
	}
}

/* The handle or the arena has been collected: when both are, nothing can reach it any more. */
static void let_go(napi_env env, void *data, void *hint)
{
	struct lanes *all = hint;
	finish(all);
	if (--all->references > 0) return;
	munmap(all->arena, all->bytes);
	free(all);
}

static struct lanes *lanes_of(const struct args *a)
{
	return arg_handle(a, 0);
}

static bool start(struct lanes *all)
{
	sigset_t every, before;
	bool ok = true;
	/* Signals are for node's threads. */
	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	for (unsigned i = 0; i < all->count; i++) {
		struct lane *lane = &all->lane[i];
		lane->all = all;
		pthread_cond_init(&lane->work, NULL);
		lane->started = !pthread_create(&lane->thread, NULL, work, lane);
		if (lane->started) pthread_setname_np(lane->thread, "lockstep-lane");
		ok = ok && lane->started;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ok;
}

/* lanesOpen(count, bytes): handle. Throws. */
FUNCTION(fn_lanes_open)
{
	struct args a = args_of(env, info);
	struct lanes *all = calloc(1, sizeof *all);
	napi_value out;
	unsigned count = arg_uint(&a, 0);
	all->count = count < LANES_MAX ? count : LANES_MAX;
	all->bytes = (size_t)arg_int64(&a, 1);
	all->references = 1;
	pthread_mutex_init(&all->lock, NULL);
	pthread_cond_init(&all->done, NULL);
	all->arena = mmap(NULL, all->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool ok = all->arena != MAP_FAILED;
	if (ok && !start(all)) {
		finish(all);
		munmap(all->arena, all->bytes);
		ok = false;
	}
	if (!ok) {
		free(all);
		napi_throw_error(env, "LANES", "there is no memory or no thread for a lane");
		return NULL;
	}
	napi_create_external(env, all, let_go, all, &out);
	return out;
}

/* lanesArena(handle): its memory, as an ArrayBuffer. To be called once. */
FUNCTION(fn_lanes_arena)
{
	struct args a = args_of(env, info);
	struct lanes *all = lanes_of(&a);
	napi_value out = NULL;
	all->references++;
	napi_create_external_arraybuffer(env, all->arena, all->bytes, let_go, all, &out);
	return out;
}

/* lanesSubmit(handle, lane, offset of the job): 0, or -EAGAIN when its queue is full. */
FUNCTION(fn_lanes_submit)
{
	struct args a = args_of(env, info);
	struct lanes *all = lanes_of(&a);
	struct lane *lane = &all->lane[arg_uint(&a, 1) % all->count];
	struct job *j = (struct job *)(all->arena + arg_uint(&a, 2));
	int64_t r = 0;
	pthread_mutex_lock(&all->lock);
	if (all->closing || lane->tail - lane->head == QUEUE_MAX) {
		errno = EAGAIN;
		r = -1;
	} else {
		j->state = JOB_WAITS;
		lane->queue[lane->tail++ % QUEUE_MAX] = j;
		if (lane->rests) pthread_cond_signal(&lane->work);
	}
	pthread_mutex_unlock(&all->lock);
	own_change(); /* the kernel is about to tell of it */
	return result(env, r);
}

/* lanesWait(handle, offset of a job): returns when it has been done, or has failed. */
FUNCTION(fn_lanes_wait)
{
	struct args a = args_of(env, info);
	struct lanes *all = lanes_of(&a);
	struct job *j = (struct job *)(all->arena + arg_uint(&a, 1));
	pthread_mutex_lock(&all->lock);
	all->waits = true;
	while (j->state == JOB_WAITS) pthread_cond_wait(&all->done, &all->lock);
	all->waits = false;
	pthread_mutex_unlock(&all->lock);
	return NULL;
}

/* lanesClose(handle): finishes what was submitted and ends the threads. Idempotent. */
FUNCTION(fn_lanes_close)
{
	struct args a = args_of(env, info);
	finish(lanes_of(&a));
	return NULL;
}

void lane_exports(napi_env env, napi_value exports)
{
	export_function(env, exports, "lanesOpen", fn_lanes_open);
	export_function(env, exports, "lanesArena", fn_lanes_arena);
	export_function(env, exports, "lanesSubmit", fn_lanes_submit);
	export_function(env, exports, "lanesWait", fn_lanes_wait);
	export_function(env, exports, "lanesClose", fn_lanes_close);
}

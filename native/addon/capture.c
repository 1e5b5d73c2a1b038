/* SPDX-License-Identifier: MIT */
/*
 * One drain over the kernel's two event streams: names and metadata from fanotify, bytes from the
 * eBPF ring buffer. Both are translated into records of one form in a buffer of the caller's.
 *
 * The order of draining is what makes a consistent cut possible (DESIGN 2): bytes, then names, and
 * again until no name is left. A change made before another one by the same program is then never
 * missing from a drain that holds the later one.
 *
 * Nothing is dropped silently: the program counts records that did not fit and remembers their
 * inodes (LOST), fanotify reports its own overflow; what cannot be attributed becomes OVERFLOW.
 * Source: man 7 fanotify, Documentation/bpf/ringbuf.rst.
 */
#include "addon.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "capture_names.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wsign-compare"
#if defined(__x86_64__)
#include "capture.x86.lskel.h"
#elif defined(__aarch64__)
#include "capture.arm64.lskel.h"
#endif
#pragma GCC diagnostic pop

/* libuv's, which is linked into node; declared here for the reasons given in poll.c. */
typedef struct uv_loop_s uv_loop_t;
struct uv_handle {
	void *data;
};
enum { UV_PREPARE = 9 };
extern int uv_prepare_init(uv_loop_t *loop, struct uv_handle *handle);
extern int uv_prepare_start(struct uv_handle *handle, void (*callback)(struct uv_handle *));
extern void uv_close(struct uv_handle *handle, void (*callback)(struct uv_handle *));
extern void uv_unref(struct uv_handle *handle);
extern size_t uv_handle_size(int type);
extern int napi_uv_loop(napi_env env, uv_loop_t **loop) __asm__("napi_get_uv_event_loop");

/* --- bytes ------------------------------------------------------------------------------------ */

static bool put_event(const struct capture_state *c, struct out *o, const struct ls_event *e)
{
	double *last = o->last, key = inode_key(c, e->ino, e->filesystem);
	if (e->op == LS_OP_WRITE && last && last[1] == key && last[2] == e->gen &&
	    last[6] == e->flags && !(e->flags & (LS_FLAG_SHARED_POS | LS_FLAG_APPEND)) &&
	    last[3] + last[4] == (double)e->pos) {
		last[4] += (double)e->len;
		return true;
	}
	size_t path_bytes = e->op == LS_OP_PATH ? e->len : 0;
	double *r = put_record(o, e->op, (const char *)(e + 1), path_bytes);
	if (!r) return false;
	r[1] = e->ino ? key : 0;
	r[2] = e->gen;
	r[3] = (double)e->pos;
	r[4] = (double)e->len;
	r[5] = (double)e->time_ns / 1000;
	r[6] = e->flags;
	r[7] = e->tgid;
	r[8] = e->dir_fd;
	if (e->op == LS_OP_WRITE) o->last = r;
	return true;
}

/*
 * Runs before the event loop sleeps. Records told without waking anyone are not known to epoll:
 * changing the ring's entry makes epoll look, and the loop goes round once more instead.
 */
static void look_before_sleep(struct uv_handle *handle)
{
	struct capture_state *c = handle->data;
	struct epoll_event e = { .events = EPOLLIN };
	if (!ring_may_sleep(&c->ring)) epoll_ctl(c->epoll_fd, EPOLL_CTL_MOD, c->ring_fd, &e);
}

/* As long as a processor mostly takes to write a record; who was interrupted takes longer. */
enum { HIDDEN_LOOKS_MAX = 64 };

/* What is left behind a record that is still being written is more than was told: o->full. */
static void drain_ring(struct capture_state *c, struct out *o)
{
	u32 header;
	char *record;
	if (!c->skeleton) return;
	ring_stay_awake(&c->ring);
	for (int looks = 0;; looks++) {
		while ((record = ring_record(&c->ring, &header))) {
			bool fits = header & RING_DISCARDED || put_event(c, o, (struct ls_event *)record);
			if (!fits) return;
			ring_pass(&c->ring, header);
		}
		if (!ring_hides(&c->ring)) return;
		if (looks == HIDDEN_LOOKS_MAX) break;
	}
	o->full = true;
}

/* Names that a drain would find. */
static bool has_names(struct group *g)
{
	int waiting = 0;
	if (g->names_fd < 0) return false;
	return g->raw_at < g->raw_end || ioctl(g->names_fd, FIONREAD, &waiting) || waiting > 0;
}

/* The event that is alone in the ring, and its header. */
static struct ls_event *lone_event(const struct ring *r, u32 *header)
{
	struct ls_event *e = (struct ls_event *)ring_record(r, header);
	if (!e || *header & RING_DISCARDED) return NULL;
	uint64_t next = *r->consumer + ring_space(*header);
	return next == __atomic_load_n((uint64_t *)r->producer, __ATOMIC_ACQUIRE) ? e : NULL;
}

bool capture_lone(void *capture, struct lone_write *out)
{
	struct capture_state *c = capture;
	u32 header;
	if (!c->skeleton || c->group_count != 1) return false;
	ring_stay_awake(&c->ring);
	const struct ls_event *e = lone_event(&c->ring, &header);
	if (!e || e->op != LS_OP_WRITE || e->flags || e->filesystem || !e->ino) return false;
	u64 dropped = __atomic_load_n(&c->skeleton->bss->dropped, __ATOMIC_ACQUIRE);
	if (dropped != c->dropped_seen || c->skeleton->bss->lost_all || has_names(c->groups[0]))
		return false;
	/* What is told of bytes while names are asked for may be older than those. */
	if (lone_event(&c->ring, &header) != e) return false;
	*out = (struct lone_write){
		.key = inode_key(c, e->ino, 0),
		.gen = e->gen,
		.position = e->pos,
		.length = e->len,
		.time_ns = e->time_ns,
	};
	return true;
}

void capture_pass_lone(void *capture)
{
	struct capture_state *c = capture;
	u32 header;
	if (ring_record(&c->ring, &header)) ring_pass(&c->ring, header);
}

static long map_call(int command, int map, void *key, void *next)
{
	union bpf_attr attr;
	memset(&attr, 0, sizeof attr);
	attr.map_fd = (u32)map;
	attr.key = (u64)(unsigned long)key;
	attr.next_key = (u64)(unsigned long)next; /* shares its place with `value` */
	return syscall(SYS_bpf, command, &attr, sizeof attr);
}

static void drain_lost(struct capture_state *c, struct out *o)
{
	if (!c->skeleton) return;
	u64 dropped = __atomic_load_n(&c->skeleton->bss->dropped, __ATOMIC_ACQUIRE);
	if (dropped == c->dropped_seen && !c->skeleton->bss->lost_all) return;
	if (c->skeleton->bss->lost_all) {
		if (!put_record(o, KIND_OVERFLOW, NULL, 0)) return;
		c->skeleton->bss->lost_all = 0;
	}
	struct ls_lost key = { .ino = 0 };
	u32 gen = 0;
	while (!map_call(BPF_MAP_GET_NEXT_KEY, c->lost_fd, NULL, &key)) {
		if (map_call(BPF_MAP_LOOKUP_ELEM, c->lost_fd, &key, &gen)) gen = 0;
		struct identity id = { key.ino, gen, key.filesystem, true };
		if (!put_node(c, o, KIND_LOST, id)) return;
		map_call(BPF_MAP_DELETE_ELEM, c->lost_fd, &key, NULL);
	}
	c->dropped_seen = dropped;
}

/* --- own changes ------------------------------------------------------------------------------ */

/* The captures of this thread. */
static __thread struct capture_state *captures;

/*
 * Changes of our own between two looks at what the kernel tells of them. It compares each new
 * record with many of those that wait: a thousand of our own, told while nobody drains, cost more
 * than what they tell of.
 */
#define OWN_CHANGES_MAX 64

void own_change(void)
{
	static __thread unsigned count;
	if (!captures || ++count < OWN_CHANGES_MAX) return;
	count = 0;
	int saved = errno;
	for (struct capture_state *c = captures; c; c = c->next) skim_names(c);
	errno = saved;
}

static bool join_captures(struct capture_state *c)
{
	struct epoll_event e = { .events = EPOLLIN };
	c->kept_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->kept_fd < 0 || epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->kept_fd, &e)) return false;
	c->next = captures;
	captures = c;
	return true;
}

static void leave_captures(struct capture_state *c)
{
	struct capture_state **at = &captures;
	while (*at && *at != c) at = &(*at)->next;
	if (*at) *at = c->next;
	if (c->kept_fd >= 0) close(c->kept_fd);
}

/* --- opening ---------------------------------------------------------------------------------- */

/* The superblock's device number: stat's differs on btrfs and overlayfs, mountinfo's does not. */
static uint32_t superblock_device(int root_fd)
{
	struct statx s;
	char line[8192];
	uint32_t dev = 0;
	unsigned wanted = STATX_BASIC_STATS | 0x1000 /* STATX_MNT_ID */;
	if (statx(root_fd, "", AT_EMPTY_PATH, wanted, &s)) return 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	while (f && fgets(line, sizeof line, f)) {
		unsigned long long id, parent;
		unsigned major, minor;
		int found = sscanf(line, "%llu %llu %u:%u", &id, &parent, &major, &minor);
		if (found == 4 && id == s.stx_mnt_id) {
			dev = major << 20 | minor;
			break;
		}
	}
	if (f) fclose(f);
	return dev;
}

static bool kernel_before(int want_major, int want_minor)
{
	struct utsname u;
	int major = 0, minor = 0;
	uname(&u);
	sscanf(u.release, "%d.%d", &major, &minor);
	return major < want_major || (major == want_major && minor < want_minor);
}

/* The kernel gives up loading a program (EAGAIN) when a signal is pending for the thread. */
static int load_undisturbed(struct capture *k)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = capture__load(k);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

static bool learn_self(struct capture *k)
{
	union bpf_attr attr;
	memset(&attr, 0, sizeof attr);
	attr.test.prog_fd = (u32)k->progs.learn_self.prog_fd;
	return !syscall(SYS_bpf, BPF_PROG_RUN, &attr, sizeof attr) && k->bss->self_tgid;
}

static bool watch_sleep(struct capture_state *c, napi_env env)
{
	uv_loop_t *loop;
	struct uv_handle *handle = calloc(1, uv_handle_size(UV_PREPARE));
	if (!handle || napi_uv_loop(env, &loop) || uv_prepare_init(loop, handle)) {
		free(handle);
		return false;
	}
	handle->data = c;
	uv_prepare_start(handle, look_before_sleep);
	uv_unref(handle); /* not a reason to stay alive */
	c->before_sleep = handle;
	return true;
}

static const char *open_bpf(struct capture_state *c, napi_env env, uint32_t ring_bytes)
{
	struct stat ns, root;
	if (access("/sys/kernel/btf/vmlinux", R_OK)) return "NO_BTF";
	if (stat("/proc/self/ns/pid", &ns) || fstat(c->root_fd, &root)) return "BPF_OPEN";
	struct capture *k = capture__open();
	if (!k) return "BPF_OPEN";
	k->rodata->watched_dev = superblock_device(c->root_fd);
	k->rodata->root_ino = root.st_ino;
	k->rodata->pidns_dev = (u64)major(ns.st_dev) << 20 | minor(ns.st_dev);
	k->rodata->pidns_ino = ns.st_ino;
	k->rodata->tells_dirty_inodes = c->groups[0]->magic == EXT_MAGIC;
	k->rodata->follows = (c->mode & MODE_FOLLOW) != 0;
	k->rodata->uring_args_old = kernel_before(6, 16);
	k->rodata->page_shift = (u32)__builtin_ctzl((unsigned long)sysconf(_SC_PAGESIZE));
	k->maps.ring.max_entries = ring_bytes;
	c->skeleton = k;
	int error = load_undisturbed(k);
	if (error) {
		errno = -error;
		return "BPF_LOAD";
	}
	if (!learn_self(k)) return "BPF_LOAD";
	error = capture__attach(k);
	if (error < 0) {
		errno = -error;
		return "BPF_ATTACH";
	}
	skel_closenz(k->links.on_sys_enter_fd); /* until somebody asks: capture_begun.c */
	k->links.on_sys_enter_fd = 0;
	c->begun = (struct begun){
		.program = k->progs.on_sys_enter.prog_fd,
		.calls = k->bss->under_way,
		.moment = &k->bss->moment,
		.unlisted = &k->bss->unlisted,
		.completions = &k->bss->completions,
	};
	c->ring_fd = k->maps.ring.map_fd;
	c->lost_fd = k->maps.lost.map_fd;
	struct ring *r = &c->ring;
	size_t mapped = RING_PAGE + 2 * (size_t)ring_bytes;
	r->bytes = ring_bytes;
	r->awake = &k->bss->reader_awake;
	r->consumer = mmap(NULL, RING_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, c->ring_fd, 0);
	r->producer = mmap(NULL, mapped, PROT_READ, MAP_SHARED, c->ring_fd, RING_PAGE);
	if (r->consumer == MAP_FAILED || r->producer == MAP_FAILED) return "BPF_MAP";
	struct epoll_event e = { .events = EPOLLIN };
	if (epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->ring_fd, &e)) return "EPOLL";
	return watch_sleep(c, env) ? NULL : "EPOLL";
}

/* What the program must know of all followed filesystems together. */
static void tell_program(struct capture_state *c)
{
	u64 bits = 0, paths = 0;
	for (size_t i = 1; i < c->group_count; i++) {
		bits |= LS_FOLLOWED_BIT(c->groups[i]->device);
		paths |= !c->groups[i]->tells_dirty_inodes;
	}
	c->skeleton->bss->followed_bits = bits;
	c->skeleton->bss->paths_wanted = paths;
}

static void drop_group(struct capture_state *c, size_t index)
{
	struct group *g = c->groups[index];
	if (g->names_fd >= 0) close(g->names_fd);
	c->groups[index] = c->groups[--c->group_count];
	if (c->skeleton && g->filesystem) {
		map_call(BPF_MAP_DELETE_ELEM, c->skeleton->maps.followed.map_fd, &g->device, NULL);
		tell_program(c);
	}
	free(g);
}

static void on_closed(struct uv_handle *handle)
{
	free(handle);
}

static void release(struct capture_state *c)
{
	leave_captures(c);
	if (c->before_sleep) uv_close(c->before_sleep, on_closed); /* from here on it is not called */
	struct ring *r = &c->ring;
	if (r->consumer && r->consumer != MAP_FAILED) munmap(r->consumer, RING_PAGE);
	if (r->producer && r->producer != MAP_FAILED)
		munmap(r->producer, RING_PAGE + 2 * (size_t)r->bytes);
	begun_rest(&c->begun);
	if (c->skeleton) capture__destroy(c->skeleton);
	for (size_t i = 0; i < c->group_count; i++) {
		if (c->groups[i]->names_fd >= 0) close(c->groups[i]->names_fd);
		free(c->groups[i]);
	}
	if (c->epoll_fd >= 0) close(c->epoll_fd);
	free(c);
}

/*
 * captureOpen(mode, rootFd, ringBytes): handle. The root's descriptor stays the caller's and must
 * outlive the handle. Throws an Error whose code names the step and whose message the errno.
 */
static napi_value fn_open(napi_env env, napi_callback_info info)
{
	struct args a = args_of(env, info);
	struct capture_state *c = calloc(1, sizeof *c);
	const char *failed = NULL;
	c->mode = arg_int(&a, 0);
	c->root_fd = arg_int(&a, 1);
	c->own_pid = (u64)getpid();
	c->kept_fd = -1;
	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (c->epoll_fd < 0 || !join_captures(c) || !add_group(c, c->root_fd)) failed = "EPOLL";
	if (!failed && (c->mode & MODE_NAMES)) failed = open_names(c, c->groups[0], c->root_fd);
	if (!failed && (c->mode & MODE_BPF)) failed = open_bpf(c, env, arg_uint(&a, 2));
	if (failed) {
		const char *why = strerror(errno);
		release(c);
		napi_throw_error(env, failed, why);
		return NULL;
	}
	napi_value out;
	napi_create_external(env, c, NULL, NULL, &out);
	return out;
}

static struct capture_state *state_of(const struct args *a)
{
	return arg_handle(a, 0);
}

/* captureFd(handle): a descriptor that is readable while records wait. */
static napi_value fn_fd(napi_env env, napi_callback_info info)
{
	struct args a = args_of(env, info);
	return number(env, state_of(&a)->epoll_fd);
}

void capture_drain(struct capture_state *c, struct out *o)
{
	do {
		if (!o->full) drain_ring(c, o);
		if (!o->full) drain_lost(c, o);
	} while (!o->full && drain_names(c, o) > 0);
}

/*
 * captureDrain(handle, buffer): twice the bytes written, plus 1 when more waits, because the buffer
 * was too small or a processor is in the middle of a record. A record is 10 doubles and a name
 * padded to 8 bytes: src/capture/records.ts.
 */
static napi_value fn_drain(napi_env env, napi_callback_info info)
{
	struct args a = args_of(env, info);
	struct capture_state *c = state_of(&a);
	struct bytes b = arg_bytes(&a, 1);
	struct out o = { .data = b.data, .size = b.length };
	begun_look(&c->begun);
	capture_drain(c, &o);
	return number(env, (double)(o.used * 2 + o.full));
}

/*
 * captureFollow(handle, filesystem, directoryFd, device): 0. From now on the filesystem that the
 * directory is mounted from is told, too, by this number (1 to 1022). `device` is its superblock's.
 */
static napi_value fn_follow(napi_env env, napi_callback_info info)
{
	struct args a = args_of(env, info);
	struct capture_state *c = state_of(&a);
	int fd = arg_int(&a, 2);
	struct stat root;
	errno = EINVAL;
	if (!(c->mode & MODE_FOLLOW) || fstat(fd, &root)) return result(env, -1);
	struct group *g = add_group(c, fd);
	if (!g) return result(env, -1);
	g->filesystem = arg_uint(&a, 1);
	g->device = arg_uint(&a, 3);
	long error = open_names(c, g, fd) ? -1 : 0;
	if (!error && c->skeleton) {
		struct ls_followed value = { root.st_ino, g->filesystem, g->tells_dirty_inodes };
		int map = c->skeleton->maps.followed.map_fd;
		error = map_call(BPF_MAP_UPDATE_ELEM, map, &g->device, &value);
		if (!error) tell_program(c);
	}
	int saved = errno;
	if (error) drop_group(c, c->group_count - 1);
	errno = saved;
	return result(env, error);
}

/* captureUnfollow(handle, filesystem): 0. Nothing more is told of it. */
static napi_value fn_unfollow(napi_env env, napi_callback_info info)
{
	struct args a = args_of(env, info);
	struct capture_state *c = state_of(&a);
	size_t index = group_of(c, arg_uint(&a, 1));
	if (index) drop_group(c, index);
	return result(env, 0);
}

/*
 * captureFollows(handle, filesystem): 1 while its mark stands, which goes with the filesystem when
 * that is unmounted for good; else 0.
 */
static napi_value fn_follows(napi_env env, napi_callback_info info)
{
	struct args a = args_of(env, info);
	struct capture_state *c = state_of(&a);
	size_t index = group_of(c, arg_uint(&a, 1));
	return result(env, index && mark_stands(c->groups[index]));
}

/* captureDropped(handle): records that the program could not hand over, since the start. */
static napi_value fn_dropped(napi_env env, napi_callback_info info)
{
	struct args a = args_of(env, info);
	struct capture_state *c = state_of(&a);
	return number(env, c->skeleton ? (double)c->skeleton->bss->dropped : 0);
}

/* captureClose(handle): to be called once; the handle is dead afterwards. */
static napi_value fn_close(napi_env env, napi_callback_info info)
{
	struct args a = args_of(env, info);
	release(state_of(&a));
	return NULL;
}

void capture_exports(napi_env env, napi_value exports)
{
	export_function(env, exports, "captureOpen", fn_open);
	export_function(env, exports, "captureFd", fn_fd);
	export_function(env, exports, "captureDrain", fn_drain);
	export_function(env, exports, "captureFollow", fn_follow);
	export_function(env, exports, "captureUnfollow", fn_unfollow);
	export_function(env, exports, "captureFollows", fn_follows);
	export_function(env, exports, "captureDropped", fn_dropped);
	export_function(env, exports, "captureClose", fn_close);
}

/* SPDX-License-Identifier: MIT */
/*
 * What the two halves of capture share: the records that a drain writes, the filesystems that are
 * watched, and the names told of them (capture_names.c). Bytes and the calls are in capture.c.
 */
#ifndef LOCKSTEP_CAPTURE_NAMES_H
#define LOCKSTEP_CAPTURE_NAMES_H

#include "addon.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
#include "capture.h"
#include "ring.h"

/* Record kinds beyond enum ls_op; the same numbers stand in src/capture/records.ts. */
enum {
	KIND_NAME = 16,
	KIND_ATTRIBUTES = 17,
	KIND_CLOSED = 18,
	KIND_OVERFLOW = 19,
	KIND_LOST = 20,
	KIND_MODIFIED = 21,
};
enum { NAME_CREATED = 1, NAME_DELETED = 2, NAME_MOVED = 4 };
enum { MODE_BPF = 1, MODE_NAMES = 2, MODE_MODIFY = 4, MODE_FOLLOW = 8 };
enum { SLOTS = 10 };

struct capture;
struct uv_handle;

/* Bytes of names asked for at once, and of those that wait to be translated (skim_names). */
#define NAMES_READ_BYTES 65536
#define NAMES_KEPT_BYTES 8388608

/* One filesystem: its fanotify group, and records read from it but not yet translated. */
struct group {
	int names_fd;
	u32 filesystem, magic, device;
	bool tells_dirty_inodes;
	size_t raw_at, raw_end;
	char raw[NAMES_KEPT_BYTES] __attribute__((aligned(8)));
};

/* Calls under way (capture_begun.c): the program that notes them, and what it shares. */
struct begun {
	int program, link;
	struct ls_call *calls;
	volatile u64 *moment, *unlisted; /* null: nothing notes them */
	u64 *completions, completions_seen, completed_ns, known_from;
};

struct capture_state {
	struct capture *skeleton;
	struct begun begun;
	struct uv_handle *before_sleep;
	int ring_fd, lost_fd, epoll_fd, root_fd, mode;
	int kept_fd; /* readable while records of names wait that the kernel does not have any more */
	bool keeps;
	struct capture_state *next; /* of this thread */
	struct ring ring;
	u64 dropped_seen, own_pid;
	bool is_unclear; /* a followed filesystem told of an inode that cannot be found out */
	size_t group_count;
	struct group *groups[1 + LS_FOLLOWED_MAX]; /* the root's is the first */
};

struct out {
	uint8_t *data;
	size_t used, size;
	double *last; /* the last record, when it is a write that the next one may extend */
	bool full;
};

struct identity {
	uint64_t ino;
	uint32_t gen;
	u32 filesystem;
	bool known;
};

/* What the kernel tells is about to be looked at: to be called before captures are drained. */
void begun_look(struct begun *b);
/* Calls that begin are noted no more. */
void begun_rest(struct begun *b);
/*
 * Bytes, then names until there are none: whatever happened before something that is told is told
 * too. A name found after the bytes may stem from a time after them, so the bytes are drained once
 * more.
 */
void capture_drain(struct capture_state *c, struct out *o);
/* The next record in `o`, zeroed but for its kind and name; NULL, and `full`, when none fits. */
double *put_record(struct out *o, double kind, const char *name, size_t name_bytes);
bool put_node(struct capture_state *c, struct out *o, int kind, struct identity node);
/* The number by which an inode is told: src/capture/inode-keys.ts. */
double inode_key(const struct capture_state *c, uint64_t ino, u32 filesystem);
/* What one read of each group gives, translated; how many records that were. 0: none waits. */
size_t drain_names(struct capture_state *c, struct out *o);
/* Lets the kernel forget what this process has done itself, and keeps the rest for a drain. */
void skim_names(struct capture_state *c);
/* The next group, for the filesystem that `fd` is on; NULL with errno set. */
struct group *add_group(struct capture_state *c, int fd);
/* Has it told of that filesystem; NULL, or the name of the step that failed, with errno set. */
const char *open_names(struct capture_state *c, struct group *g, int fd);
/* The place of a followed filesystem among the groups, or 0. */
size_t group_of(const struct capture_state *c, u32 filesystem);
/* Whether the group still watches its filesystem, which has then not been unmounted for good. */
bool mark_stands(const struct group *g);

#endif

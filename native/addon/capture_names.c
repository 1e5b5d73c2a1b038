/* SPDX-License-Identifier: MIT */
/*
 * Names and metadata, as fanotify tells them: one group for each filesystem, its records translated
 * into those of a drain.
 *
 * Of a filesystem that is followed below the root, inode numbers are told with its number above
 * them (inode_key). Its names come from a group of its own, because two filesystems may have one
 * fsid (copied images), and because a mark that has gone tells that it was unmounted.
 * Source: man 7 fanotify, man 5 proc_pid_fdinfo.
 */
#include "capture_names.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#ifndef FAN_REPORT_TARGET_FID
#define FAN_REPORT_TARGET_FID 0x00001000
#endif
#ifndef FAN_RENAME
#define FAN_RENAME 0x10000000
#endif
#define INFO_FID 1
#define INFO_DFID_NAME 2
#define INFO_DFID 3
#define INFO_OLD_DFID_NAME 10
#define INFO_NEW_DFID_NAME 12

double *put_record(struct out *o, double kind, const char *name, size_t name_bytes)
{
	size_t need = (SLOTS * 8 + name_bytes + 7) & ~7ul;
	o->last = NULL;
	if (o->size - o->used < need) {
		o->full = true;
		return NULL;
	}
	double *r = (double *)(o->data + o->used);
	memset(r, 0, SLOTS * 8);
	r[0] = kind;
	r[9] = (double)name_bytes;
	if (name_bytes) memcpy(r + SLOTS, name, name_bytes);
	o->used += need;
	return r;
}

/* Below this many bits the inode number, above them the filesystem: src/capture/inode-keys.ts. */
#define INODE_BITS 43

double inode_key(const struct capture_state *c, uint64_t ino, u32 filesystem)
{
	double folded = fold_inode(ino);
	if (!(c->mode & MODE_FOLLOW)) return folded;
	uint64_t key = (uint64_t)folded, mask = (1ull << INODE_BITS) - 1;
	if (key > mask) key = ((key & mask) + (key >> INODE_BITS) * 2654435761ull) & mask;
	return (double)(key | (uint64_t)filesystem << INODE_BITS);
}

static double key_of(const struct capture_state *c, struct identity id)
{
	return inode_key(c, id.ino, id.filesystem);
}

static struct identity identity_of(struct capture_state *c, const struct group *g,
				   struct file_handle *h)
{
	struct identity id = { 0, 0, g->filesystem, true };
	if (handle_identity(g->magic, h->handle_type, h->f_handle, h->handle_bytes, &id.ino, &id.gen))
		return id;
	if (g->filesystem) {
		/* Not one of the layouts that are followed: whatever it was, all is looked at. */
		c->is_unclear = true;
		id.known = false;
		return id;
	}
	/* A filesystem whose handles are opaque here: ask the kernel which inode it is. */
	int fd = open_by_handle_at(c->root_fd, h, O_PATH | O_CLOEXEC);
	struct stat s;
	id.known = fd >= 0 && !fstat(fd, &s);
	if (id.known) id.ino = s.st_ino;
	if (fd >= 0) close(fd);
	return id;
}

static bool put_name(struct capture_state *c, const struct group *g, struct out *o,
		     struct fanotify_event_info_fid *f, struct identity child, int change)
{
	struct file_handle *h = (void *)f->handle;
	struct identity dir = identity_of(c, g, h);
	const char *name = (const char *)h->f_handle + h->handle_bytes;
	if (!dir.known) return true;
	double *r = put_record(o, KIND_NAME, name, strlen(name));
	if (!r) return false;
	r[1] = key_of(c, dir);
	r[2] = dir.gen;
	r[3] = child.ino ? key_of(c, child) : 0;
	r[4] = child.gen;
	r[6] = change;
	return true;
}

bool put_node(struct capture_state *c, struct out *o, int kind, struct identity node)
{
	double *r = put_record(o, kind, NULL, 0);
	if (!r) return false;
	r[1] = key_of(c, node);
	r[2] = node.gen;
	return true;
}

static bool is_own(const struct capture_state *c, const struct fanotify_event_metadata *m)
{
	return (u64)m->pid == c->own_pid && !(m->mask & FAN_Q_OVERFLOW);
}

static bool translate(struct capture_state *c, const struct group *g, struct out *o,
		      struct fanotify_event_metadata *m)
{
	struct fanotify_event_info_fid *name = NULL, *from = NULL, *to = NULL, *self = NULL;
	struct identity child = { 0, 0, g->filesystem, false };
	if (m->mask & FAN_Q_OVERFLOW) return put_record(o, KIND_OVERFLOW, NULL, 0) != NULL;
	if (is_own(c, m)) return true;
	char *at = (char *)m + m->metadata_len, *end = (char *)m + m->event_len;
	while (at < end) {
		struct fanotify_event_info_fid *f = (void *)at;
		if (f->hdr.info_type == INFO_FID) child = identity_of(c, g, (void *)f->handle);
		if (f->hdr.info_type == INFO_DFID_NAME) name = f;
		if (f->hdr.info_type == INFO_DFID_NAME || f->hdr.info_type == INFO_DFID) self = f;
		if (f->hdr.info_type == INFO_OLD_DFID_NAME) from = f;
		if (f->hdr.info_type == INFO_NEW_DFID_NAME) to = f;
		at += f->hdr.len;
	}
	int change = m->mask & FAN_CREATE ? NAME_CREATED : 0;
	if (m->mask & FAN_DELETE) change |= NAME_DELETED;
	if (name && change && !put_name(c, g, o, name, child, change)) return false;
	if (from && !put_name(c, g, o, from, child, NAME_MOVED)) return false;
	if (to && !put_name(c, g, o, to, child, NAME_MOVED)) return false;
	/* An event of a directory itself names that directory and no child. */
	if (!child.known && self && (m->mask & FAN_ONDIR))
		child = identity_of(c, g, (void *)self->handle);
	if (!child.known) return true;
	if (m->mask & FAN_ATTRIB && !put_node(c, o, KIND_ATTRIBUTES, child)) return false;
	if (m->mask & FAN_MODIFY && !put_node(c, o, KIND_MODIFIED, child)) return false;
	if (m->mask & FAN_CLOSE_WRITE && !put_node(c, o, KIND_CLOSED, child)) return false;
	return true;
}

/*
 * Translates what one read gives, and tells how many records that were: 0 when none waits. Stops
 * when `o` is full.
 */
static size_t drain_group(struct capture_state *c, struct group *g, struct out *o)
{
	size_t count = 0;
	if (g->names_fd < 0) return 0;
	if (g->raw_at == g->raw_end) {
		ssize_t n = read(g->names_fd, g->raw, NAMES_READ_BYTES);
		if (n <= 0) return 0;
		g->raw_at = 0;
		g->raw_end = (size_t)n;
	}
	while (g->raw_at < g->raw_end) {
		struct fanotify_event_metadata *m = (void *)(g->raw + g->raw_at);
		size_t before = o->used;
		if (!translate(c, g, o, m)) {
			o->used = before;
			return count;
		}
		g->raw_at += m->event_len;
		count++;
	}
	return count;
}

/* The same of every filesystem. */
size_t drain_names(struct capture_state *c, struct out *o)
{
	size_t count = 0;
	for (size_t i = 0; i < c->group_count && !o->full; i++)
		count += drain_group(c, c->groups[i], o);
	if (c->is_unclear && put_record(o, KIND_OVERFLOW, NULL, 0)) c->is_unclear = false;
	if (c->keeps && !o->full) {
		uint64_t kept;
		c->keeps = read(c->kept_fd, &kept, sizeof kept) < 0;
	}
	return count;
}

/* Moves what others have done, of the records from `at` on, together. */
static void drop_own(struct capture_state *c, struct group *g, size_t at)
{
	size_t to = at;
	while (at < g->raw_end) {
		struct fanotify_event_metadata *m = (void *)(g->raw + at);
		size_t bytes = m->event_len;
		if (!is_own(c, m)) {
			memmove(g->raw + to, m, bytes);
			to += bytes;
		}
		at += bytes;
	}
	g->raw_end = to;
}

static void skim_group(struct capture_state *c, struct group *g)
{
	while (g->names_fd >= 0) {
		if (g->raw_end > NAMES_KEPT_BYTES - NAMES_READ_BYTES) {
			if (g->raw_at < NAMES_KEPT_BYTES / 2) return; /* what comes now waits with the kernel */
			memmove(g->raw, g->raw + g->raw_at, g->raw_end - g->raw_at);
			g->raw_end -= g->raw_at;
			g->raw_at = 0;
		}
		ssize_t n = read(g->names_fd, g->raw + g->raw_end, NAMES_READ_BYTES);
		if (n <= 0) return;
		size_t before = g->raw_end;
		g->raw_end += (size_t)n;
		drop_own(c, g, before);
	}
}

void skim_names(struct capture_state *c)
{
	bool keeps = false;
	for (size_t i = 0; i < c->group_count; i++) {
		struct group *g = c->groups[i];
		if (g->raw_at == g->raw_end) g->raw_at = g->raw_end = 0;
		skim_group(c, g);
		keeps = keeps || g->raw_at < g->raw_end;
	}
	uint64_t one = 1;
	if (keeps && !c->keeps) c->keeps = write(c->kept_fd, &one, sizeof one) == sizeof one;
}

const char *open_names(struct capture_state *c, struct group *g, int fd)
{
	uint64_t mask = FAN_CREATE | FAN_DELETE | FAN_RENAME | FAN_ATTRIB | FAN_CLOSE_WRITE | FAN_ONDIR;
	if (c->mode & MODE_MODIFY) mask |= FAN_MODIFY;
	g->names_fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE |
					    FAN_UNLIMITED_MARKS | FAN_REPORT_DFID_NAME | FAN_REPORT_FID |
					    FAN_REPORT_TARGET_FID,
				    O_RDONLY | O_CLOEXEC);
	if (g->names_fd < 0) return "FANOTIFY_INIT";
	if (fanotify_mark(g->names_fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, mask, fd, NULL))
		return "FANOTIFY_MARK";
	struct epoll_event e = { .events = EPOLLIN };
	return epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, g->names_fd, &e) ? "EPOLL" : NULL;
}

struct group *add_group(struct capture_state *c, int fd)
{
	struct statfs fs;
	errno = ENFILE;
	if (c->group_count == sizeof c->groups / sizeof *c->groups || fstatfs(fd, &fs)) return NULL;
	struct group *g = calloc(1, sizeof *g);
	if (!g) return NULL;
	g->names_fd = -1;
	g->magic = (u32)fs.f_type;
	g->tells_dirty_inodes = g->magic == EXT_MAGIC;
	c->groups[c->group_count++] = g;
	return g;
}

size_t group_of(const struct capture_state *c, u32 filesystem)
{
	for (size_t i = 1; i < c->group_count; i++)
		if (c->groups[i]->filesystem == filesystem) return i;
	return 0;
}

bool mark_stands(const struct group *g)
{
	char path[64], line[256];
	bool found = false;
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", g->names_fd);
	FILE *f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof line, f)) found = strstr(line, "sdev:") != NULL;
	if (f) fclose(f);
	return found;
}

/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which filesystems are watched: the root's, and those mounted below it that user space follows.
 * Without them all of it is one comparison: the verifier knows `follows` to be 0 and drops the
 * rest. With them a change elsewhere costs one more look at a word, and mostly no lookup.
 * Part of capture.bpf.c.
 */
#ifndef LOCKSTEP_FOLLOWED_H
#define LOCKSTEP_FOLLOWED_H

/* Set before loading. */
const volatile u32 follows = 0; /* filesystems mounted below the root are watched as well */

/* Shared with user space through the mapped .bss. */
/* A bit for each followed device, so that a change elsewhere costs no lookup (LS_FOLLOWED_BIT). */
volatile u64 followed_bits = 0;
/* Some followed filesystem does not mark inodes dirty through the VFS. */
volatile u64 paths_wanted = 0;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LS_FOLLOWED_MAX);
	__type(key, u32);
	__type(value, struct ls_followed);
} followed SEC(".maps");

/* Whether the device is watched; what is to be known of its filesystem. */
static __always_inline bool is_watched(u32 dev, struct ls_followed *on)
{
	on->root_ino = root_ino;
	on->filesystem = 0;
	on->tells_dirty_inodes = tells_dirty_inodes;
	if (dev == watched_dev) return 1;
	if (!follows || !(followed_bits & LS_FOLLOWED_BIT(dev))) return 0;
	struct ls_followed *found = bpf_map_lookup_elem(&followed, &dev);
	if (!found) return 0;
	*on = *found;
	return 1;
}

#endif

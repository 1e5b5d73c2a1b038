/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Records in the ring: made, handed over, or counted as lost. Part of capture.bpf.c.
 */
#ifndef LOCKSTEP_RECORDS_H
#define LOCKSTEP_RECORDS_H

static __always_inline void count_lost(u64 ino, u32 gen, u32 filesystem)
{
	struct ls_lost key = { .ino = ino, .filesystem = filesystem };
	__sync_fetch_and_add(&dropped, 1);
	if (bpf_map_update_elem(&lost, &key, &gen, BPF_ANY)) lost_all = 1;
}

/*
 * Waking the reader costs the writer an interrupt to its own CPU, most of what a record costs, and
 * is of no use while the reader runs. The reader clears `reader_awake` and then looks at the ring
 * once more before it sleeps; a record is made visible (with a full barrier: bpf_ringbuf_commit)
 * before `reader_awake` is looked at once more. So one of both always sees the other.
 * While it is clear the kernel's own rule holds: the first record after a drain wakes.
 */
static __always_inline u64 wake_flag(void)
{
	return reader_awake ? BPF_RB_NO_WAKEUP : 0;
}

static __always_inline void wake_if_owed(u64 flag)
{
	if (!flag || reader_awake) return;
	void *nothing = bpf_ringbuf_reserve(&ring, 8, 0);
	if (nothing) bpf_ringbuf_discard(nothing, BPF_RB_FORCE_WAKEUP);
}

static __always_inline void submit(struct ls_event *e)
{
	u64 flag = wake_flag();
	bpf_ringbuf_submit(e, flag);
	wake_if_owed(flag);
}

static __always_inline void emit(struct inode *inode, u32 filesystem, u8 op, u8 flags, u64 pos,
				 u64 len)
{
	if (is_self()) return;
	if (inode->i_mapping->i_mmap_writable.counter > 0) flags |= LS_FLAG_MAPPED;
	struct ls_event *e = bpf_ringbuf_reserve(&ring, sizeof *e, 0);
	if (!e) {
		count_lost(inode->i_ino, inode->i_generation, filesystem);
		return;
	}
	e->ino = inode->i_ino;
	e->pos = pos;
	e->len = len;
	e->time_ns = bpf_ktime_get_ns();
	e->gen = inode->i_generation;
	e->tgid = 0;
	e->op = op;
	e->flags = flags;
	e->filesystem = filesystem;
	e->dir_fd = 0;
	submit(e);
}

__noinline int emit_rescan(void)
{
	lost_all = 1;
	struct ls_event *e = bpf_ringbuf_reserve(&ring, sizeof *e, 0);
	if (!e) return 0;
	__builtin_memset(e, 0, sizeof *e);
	e->op = LS_OP_RESCAN;
	e->time_ns = bpf_ktime_get_ns();
	submit(e);
	return 0;
}

#endif

/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Calls that name their file by a path: truncate(2), and utimensat(2) of the modification time
 * alone. Their exit shows no inode. On filesystems that mark an inode dirty through the VFS (ext4)
 * the inode is caught there, in the middle of the call; elsewhere the path is handed to user space,
 * with the calls of every process on the machine that might be meant.
 * Part of capture.bpf.c.
 */
#ifndef LOCKSTEP_PATHS_H
#define LOCKSTEP_PATHS_H

#define AT_FDCWD (-100)

/* The directory that a relative path starts at. */
static __always_inline struct inode *start_of(int dir_fd)
{
	struct task_struct *task = current_task();
	struct dentry *start = 0;
	if (dir_fd == AT_FDCWD) {
		start = task->fs->pwd.dentry;
	} else {
		u64 f = file_of(task, dir_fd);
		if (f) start = cast(f, struct file)->f_path.dentry;
	}
	return start ? start->d_inode : 0;
}

/* `path` is an address in the memory of the calling process. */
__noinline int emit_path(u64 path, int dir_fd, u64 detail)
{
	if (tells_dirty_inodes && !(follows && paths_wanted)) return 0;
	if (is_self()) return 0;
	char first = 0;
	bpf_probe_read_user(&first, 1, (void *)path);
	/* A relative path starts on a watched filesystem, an absolute one may lead anywhere. */
	struct inode *start = first == '/' ? 0 : start_of(dir_fd);
	struct ls_followed on = { .root_ino = 0 };
	if (start && !is_watched(start->i_sb->s_dev, &on)) return 0;
	u32 zero = 0;
	struct path_record *r = bpf_map_lookup_elem(&scratch, &zero);
	if (!r) return 0;
	long n = bpf_probe_read_user_str(r->path, sizeof r->path, (void *)path);
	/* An unreadable or cut path cannot be resolved: have everything looked at instead. */
	if (n <= 1 || n >= LS_PATH_MAX) {
		emit_rescan();
		return 0;
	}
	__builtin_memset(&r->event, 0, sizeof r->event);
	r->event.op = LS_OP_PATH;
	if (start) r->event.ino = start->i_ino;
	if (start) r->event.gen = start->i_generation;
	r->event.filesystem = on.filesystem;
	r->event.pos = detail;
	r->event.tgid = bpf_get_current_pid_tgid() >> 32;
	struct bpf_pidns_info {
		u32 pid, tgid;
	} ids = {};
	if (!bpf_get_ns_current_pid_tgid(pidns_dev, pidns_ino, (void *)&ids, sizeof ids))
		r->event.tgid = ids.tgid;
	r->event.dir_fd = dir_fd;
	r->event.time_ns = bpf_ktime_get_ns();
	u64 bytes = (n - 1) & (LS_PATH_MAX - 1);
	r->event.len = bytes;
	u64 flag = wake_flag();
	if (bpf_ringbuf_output(&ring, r, sizeof r->event + bytes, flag)) {
		__sync_fetch_and_add(&dropped, 1);
		lost_all = 1;
	}
	wake_if_owed(flag);
	return 0;
}

/*
 * In the middle of a call by path, after the inode has been changed. Other calls and other inodes
 * are let go after two comparisons.
 */
SEC("tp_btf/writeback_mark_inode_dirty")
int BPF_PROG(on_dirty_inode, struct inode *inode, int flags)
{
	struct ls_followed on;
	if (!follows && !tells_dirty_inodes) return 0;
	if (!is_watched(inode->i_sb->s_dev, &on) || !on.tells_dirty_inodes) return 0;
	struct task_struct *task = current_task();
	if (task->flags & (PF_KTHREAD | PF_IO_WORKER)) return 0;
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	unsigned long number = CALL_NUMBER(regs);
	if (number >= CALLS) return 0;
	int call = RUNS_32(task) ? calls32[number] : calls[number];
	if (call != TRUNCATE && call != UTIMENSAT) return 0;
	u64 address = address_at(&ctx[0]); /* of the inode */
	if (call == UTIMENSAT)
		emit_inode(address, LS_OP_ATTR, 0, 0);
	else if ((inode->i_mode & S_IFMT) == S_IFREG)
		emit_inode(address, LS_OP_TRUNCATE, inode->i_size, 0);
	return 0;
}

#endif

/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Reports every change of bytes below one folder: which inode, which extent.
 *
 * In:  the exit of system calls, completions of io_uring and direct I/O, pages made dirty.
 * Out: struct ls_event records in one ring buffer.
 *
 * Only tracepoints are used: kprobe, fentry and LSM programs are refused on hardened kernels, and
 * tracepoints work on every architecture. Names and metadata come from fanotify, not from here.
 *
 * Invariants:
 * - A record that does not fit is counted in `dropped`, and its inode is kept in `lost`; when even
 *   that is full `lost_all` is set. User space turns either into a rescan: no loss is silent.
 * - The program never reports what its own process writes (`self_tgid`).
 * - Kernel structures are dereferenced directly through BTF pointers; helper calls for the same
 *   (BPF_CORE_READ) cost some 500 ns more on each write. The pointers are untrusted ones
 *   (bpf_rdonly_cast): with each step from a trusted one the verifier searches all of the kernel's
 *   BTF for the names of marker types.
 * - What is called from several places and has a loop is a global function: the verifier looks
 *   through those once, and through static ones once a call and state (docs/adr/0017). Their
 *   arguments are numbers, so files are handed on by address.
 */
#include "kernel_types.h"
#include "capture.h"
#include "calls.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

extern void *bpf_rdonly_cast(void *obj, __u32 btf_id) __ksym;
#define cast(p, type) ((type *)bpf_rdonly_cast((void *)(p), bpf_core_type_id_kernel(type)))
#define current_task() cast(bpf_get_current_task_btf(), struct task_struct)

/* Set before loading. */
const volatile u32 watched_dev = 0;
const volatile u64 root_ino = 0;
const volatile u64 pidns_dev = 0;
const volatile u64 pidns_ino = 0;
const volatile u32 uring_args_old = 0; /* io_uring_complete passed res by value before 6.16 */
const volatile u32 page_shift = 12;
const volatile u32 tells_dirty_inodes = 0; /* the filesystem marks inodes dirty through the VFS */

/* Shared with user space through the mapped .bss. */
u64 dropped = 0;
u64 lost_all = 0;
/* Set by user space while it will look at the ring by itself before it sleeps: see submit(). */
volatile u64 reader_awake = 0;
/* The process that reads the ring, as the initial pid namespace numbers it. */
u64 self_tgid = 0;
/* Changes made by io_uring and Linux AIO: when such a one has begun nobody tells. */
u64 completions = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct ls_lost);
	__type(value, u32);
} lost SEC(".maps");

struct path_record {
	struct ls_event event;
	char path[LS_PATH_MAX];
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct path_record);
} scratch SEC(".maps");

/* Run once by the reader: in a pid namespace of its own it does not know that number. */
SEC("syscall")
int learn_self(void *context)
{
	self_tgid = bpf_get_current_pid_tgid() >> 32;
	return 0;
}

static __always_inline bool is_self(void)
{
	return bpf_get_current_pid_tgid() >> 32 == self_tgid;
}

#include "followed.h"

/*
 * 1 below the root, 0 outside, LS_FLAG_ALIAS + 1 when only user space can tell: the file has other
 * names, or this one is gone (unlinked, or never given: O_TMPFILE), or it was opened by a handle,
 * so that its name may not be in memory.
 */
static __always_inline int below_root(struct dentry *first, struct inode *inode, u64 root)
{
	struct dentry *d = first;
#pragma clang loop unroll(disable)
	for (int i = 0; i < DEPTH_MAX; i++) {
		/* Without looking for null: reading through it gives 0, and no inode has that number. */
		if (d->d_inode->i_ino == root) return 1;
		struct dentry *parent = d->d_parent;
		if (parent == d) break;
		d = parent;
	}
	/* Only now: what differs between the steps multiplies the work of the verifier. */
	unsigned int names = inode->__i_nlink;
	if (d->d_parent != d) return LS_FLAG_ALIAS + 1;
	if (!names) return 0;
	return names > 1 || !first->d_hash.pprev || d != inode->i_sb->s_root ? LS_FLAG_ALIAS + 1 : 0;
}

/* The same for an inode that no descriptor leads to. */
static __always_inline int inode_below_root(struct inode *inode, u64 root)
{
	struct hlist_node *alias = inode->i_dentry.first;
	if (!alias) return LS_FLAG_ALIAS + 1;
	void *d = (void *)alias - bpf_core_field_offset(struct dentry, d_u.d_alias);
	return below_root(cast(d, struct dentry), inode, root);
}

#include "records.h"

/* The file behind `f` when it lies on a watched filesystem; sets `where` and `on`. */
static __always_inline struct inode *watched_inode(struct file *f, bool any_type, int *where,
						   struct ls_followed *on)
{
	struct inode *inode = f->f_inode;
	if (!inode || !is_watched(inode->i_sb->s_dev, on)) return 0;
	if (!any_type && (inode->i_mode & S_IFMT) != S_IFREG) return 0;
	*where = below_root(f->f_path.dentry, inode, on->root_ino);
	return *where ? inode : 0;
}

/* `file` is the address of a struct file. */
__noinline int emit_file(u64 file, u32 op, u32 flags, u64 pos, u64 len)
{
	int where = 0;
	struct ls_followed on;
	struct inode *inode = watched_inode(cast(file, struct file), op == LS_OP_ATTR, &where, &on);
	if (inode) emit(inode, on.filesystem, op, flags | (where - 1), pos, len);
	return 0;
}

/* The same for the address of a struct inode on a watched filesystem. */
__noinline int emit_inode(u64 address, u32 op, u64 pos, u64 len)
{
	struct inode *inode = cast(address, struct inode);
	struct ls_followed on;
	if (!is_watched(inode->i_sb->s_dev, &on)) return 0;
	int where = inode_below_root(inode, on.root_ino);
	if (where) emit(inode, on.filesystem, op, where - 1, pos, len);
	return 0;
}

/* A pointer in kernel memory as a number, which global functions take. */
static __always_inline u64 address_at(const void *place)
{
	u64 address = 0;
	bpf_probe_read_kernel(&address, sizeof address, place);
	return address;
}

/* The address of the struct file behind a descriptor, or 0. */
static __always_inline u64 file_of(struct task_struct *task, u32 fd)
{
	struct fdtable *table = task->files->fdt;
	return fd < table->max_fds ? address_at(table->fd + fd) : 0;
}

/*
 * Whether others may have moved the position since: threads with the same descriptors, or a process
 * that inherited or was sent this one.
 */
static __always_inline bool is_shared(struct task_struct *task, struct file *f)
{
	if (task->files->count.counter > 1) return 1;
	if (bpf_core_field_exists(f->f_ref)) return f->f_ref.refcnt.counter > 0; /* counts from 0 */
	struct file___before_6_13 *old = (void *)f;
	return bpf_core_field_exists(old->f_count) && BPF_CORE_READ(old, f_count.counter) > 1;
}

/* A write at the descriptor's own position, which has just moved past it. */
static __always_inline void emit_at_position(struct task_struct *task, u64 file, long ret)
{
	struct file *f = cast(file, struct file);
	u32 flags = is_shared(task, f) ? LS_FLAG_SHARED_POS : 0;
	emit_file(file, LS_OP_WRITE, flags, f->f_pos - ret, ret);
}

static __always_inline void emit_at_offset(u64 file, u64 pos, long ret, u64 rw_flags)
{
	bool appends = (cast(file, struct file)->f_flags & O_APPEND) && !(rw_flags & RWF_NOAPPEND);
	if ((rw_flags & RWF_APPEND) || appends)
		emit_file(file, LS_OP_WRITE, LS_FLAG_APPEND, 0, ret);
	else
		emit_file(file, LS_OP_WRITE, 0, pos, ret);
}

#include "paths.h"

static __always_inline void on_fallocate(u64 f, u64 mode, u64 pos, u64 len)
{
	if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
		emit_file(f, LS_OP_TRUNCATE, 0, pos, 0);
	else if (mode != FALLOC_FL_KEEP_SIZE)
		emit_file(f, LS_OP_WRITE, 0, pos, len);
	else
		emit_file(f, LS_OP_ATTR, 0, 0, 0); /* its times */
}

/* Commands that change bytes in ways of their own. */
static __always_inline bool changes_content(u32 command)
{
	return command == FS_IOC_RESVSP || command == FS_IOC_RESVSP64 || command == FS_IOC_UNRESVSP ||
	       command == FS_IOC_UNRESVSP64 || command == FS_IOC_ZERO_RANGE ||
	       command == EXT4_IOC_MOVE_EXT || command == XFS_IOC_SWAPEXT ||
	       command == XFS_IOC_EXCHANGE_RANGE || command == BTRFS_IOC_ENCODED_WRITE;
}

static __always_inline void on_ioctl(struct task_struct *task, u64 f, u32 command,
				     u64 argument)
{
	if (changes_content(command)) {
		u32 other = 0, skip = command == EXT4_IOC_MOVE_EXT ? 4 : 0;
		emit_file(f, LS_OP_UNKNOWN, 0, 0, 0);
		/* Exchanges change a second file, whose descriptor stands in the argument. */
		if (command != XFS_IOC_EXCHANGE_RANGE && !skip) return;
		if (bpf_probe_read_user(&other, sizeof other, (void *)(argument + skip))) return;
		u64 second = file_of(task, other);
		if (second) emit_file(second, LS_OP_UNKNOWN, 0, 0, 0);
		return;
	}
	if (command == FICLONE) {
		emit_file(f, LS_OP_TRUNCATE, 0, 0, 0);
	} else if (command == FICLONERANGE) {
		struct {
			s64 src_fd;
			u64 src_offset, src_length, dest_offset;
		} range = {};
		bpf_probe_read_user(&range, sizeof range, (void *)argument);
		if (range.src_length)
			emit_file(f, LS_OP_WRITE, 0, range.dest_offset, range.src_length);
		else
			emit_file(f, LS_OP_TRUNCATE, 0, range.dest_offset, 0);
	}
}

static __always_inline void on_utimensat(struct task_struct *task, struct pt_regs *regs)
{
	struct {
		s64 atime[2], mtime[2];
	} times = {};
	/* Both times set is FAN_ATTRIB; the modification time alone is not. */
	if (!ARG2(regs)) return;
	if (bpf_probe_read_user(&times, sizeof times, (void *)ARG2(regs))) return;
	if (times.atime[1] != UTIME_OMIT || times.mtime[1] == UTIME_OMIT) return;
	char first = 0;
	if (ARG1(regs)) bpf_probe_read_user(&first, 1, (void *)ARG1(regs));
	if (first) {
		emit_path(ARG1(regs), ARG0(regs), LS_OP_ATTR);
		return;
	}
	u64 f = file_of(task, ARG0(regs));
	if (f) emit_file(f, LS_OP_ATTR, 0, 0, 0);
}

struct submission {
	u64 list;
	bool is_32;
};

/* One request of Linux AIO. */
static long on_request(u32 index, void *context)
{
	struct submission *of = context;
	struct {
		u64 data;
		u32 key, rw_flags;
		u16 opcode;
		s16 priority;
		u32 fd;
		u64 buf, nbytes;
		s64 offset;
	} cb;
	u64 pointer = 0;
	if (of->is_32) {
		u32 pointer_32 = 0;
		if (bpf_probe_read_user(&pointer_32, 4, (void *)(of->list + index * 4))) return 1;
		pointer = pointer_32;
	} else if (bpf_probe_read_user(&pointer, 8, (void *)(of->list + index * 8)))
		return 1;
	if (bpf_probe_read_user(&cb, sizeof cb, (void *)pointer)) return 1;
	if (cb.opcode != 1 && cb.opcode != 8) return 0;
	u64 f = file_of(current_task(), cb.fd);
	if (!f) return 0;
	if (cb.opcode == 8)
		emit_file(f, LS_OP_UNKNOWN, 0, 0, 0);
	else
		emit_at_offset(f, cb.offset, cb.nbytes, cb.rw_flags);
	return 0;
}

/* Linux AIO: buffered requests are done by now, direct ones report again when they complete. */
static __always_inline void on_io_submit(u64 list, bool is_32, long count)
{
	struct submission of = { .list = list, .is_32 = is_32 };
	if (count > IO_SUBMIT_MAX) emit_rescan();
	__sync_fetch_and_add(&completions, 1);
	bpf_loop(count > IO_SUBMIT_MAX ? IO_SUBMIT_MAX : count, on_request, &of, 0);
}

struct removal {
	u64 end, whole;
};

static long on_removed_mapping(struct task_struct *task, struct vm_area_struct *area, void *context)
{
	struct removal *removal = context;
	u64 f = address_at(&area->vm_file);
	removal->whole = removal->end <= area->vm_end;
	if (f) emit_file(f, LS_OP_UNKNOWN, 0, 0, 0);
	return 0;
}

/* A hole punched through a mapping. */
static __always_inline void on_madvise(u64 start, u64 length, u32 advice)
{
	if (advice != MADV_REMOVE) return;
	struct removal removal = { .end = start + length, .whole = 0 };
	long error = bpf_find_vma(bpf_get_current_task_btf(), start, on_removed_mapping, &removal, 0);
	if (error || !removal.whole) emit_rescan();
}

static __always_inline void on_open(struct task_struct *task, u64 open_flags, long fd)
{
	if (!(open_flags & O_TRUNC)) return;
	u64 f = file_of(task, fd);
	/* Opening for reading truncates too. */
	if (f && !(cast(f, struct file)->f_mode & FMODE_PATH)) emit_file(f, LS_OP_TRUNCATE, 0, 0, 1);
}

static __always_inline void on_mmap(struct task_struct *task, u64 flags, u32 fd)
{
	if ((flags & MAP_ANONYMOUS) || !((flags & MAP_TYPE) & MAP_SHARED)) return;
	u64 f = file_of(task, fd);
	if (f && (cast(f, struct file)->f_mode & FMODE_WRITE)) emit_file(f, LS_OP_MAPPED, 0, 0, 0);
}

static __always_inline void on_splice(struct task_struct *task, struct pt_regs *regs, long ret)
{
	u64 f = file_of(task, ARG2(regs));
	if (!f) return;
	if (!ARG3(regs)) {
		emit_at_position(task, f, ret);
		return;
	}
	s64 after = 0;
	if (bpf_probe_read_user(&after, sizeof after, (void *)ARG3(regs)))
		emit_file(f, LS_OP_UNKNOWN, 0, 0, 0);
	else
		emit_file(f, LS_OP_WRITE, 0, after - ret, ret);
}

/* Calls whose first argument is the descriptor and which report a positive count. */
static __always_inline void on_write(struct task_struct *task, struct pt_regs *regs, int call,
				     long ret)
{
	u64 f = file_of(task, ARG0(regs));
	if (!f) return;
	if (call == WRITE_AT_POSITION || call == SENDFILE)
		emit_at_position(task, f, ret);
	else if (call == PWRITEV2 && (s64)ARG3(regs) == -1 && !(ARG5(regs) & RWF_APPEND))
		emit_at_position(task, f, ret);
	else
		emit_at_offset(f, ARG3(regs), ret, call == PWRITEV2 ? ARG5(regs) : 0);
}

static __always_inline void on_other(struct task_struct *task, struct pt_regs *regs, int call,
				     long ret)
{
	u64 f;
	if (call == OPEN_FLAGS_3) {
		on_open(task, ARG2(regs), ret);
	} else if (call == OPEN_FLAGS_2) {
		on_open(task, ARG1(regs), ret);
	} else if (call == CREAT) {
		on_open(task, O_TRUNC, ret);
	} else if (call == OPENAT2) {
		u64 open_flags = 0;
		bpf_probe_read_user(&open_flags, sizeof open_flags, (void *)ARG2(regs));
		on_open(task, open_flags, ret);
	} else if (call == MMAP) {
		on_mmap(task, ARG3(regs), ARG4(regs));
	} else if (call == UTIMENSAT) {
		on_utimensat(task, regs);
	} else if (call == IO_SUBMIT) {
		on_io_submit(ARG2(regs), 0, ret);
	} else if (call == MADVISE) {
		on_madvise(ARG0(regs), ARG1(regs), ARG2(regs));
	} else if (call == TRUNCATE) {
		emit_path(ARG0(regs), -100, LS_OP_TRUNCATE | ARG1(regs) << 8);
	} else if ((f = file_of(task, ARG0(regs)))) {
		if (call == FTRUNCATE)
			emit_file(f, LS_OP_TRUNCATE, 0, ARG1(regs), 1);
		else if (call == FALLOCATE)
			on_fallocate(f, ARG1(regs), ARG2(regs), ARG3(regs));
		else if (call == IOCTL)
			on_ioctl(task, f, ARG1(regs), ARG2(regs));
	}
}

/* 32-bit programs: rare, so extents are told only where that is simple. */
static __noinline void on_call_32(struct pt_regs *regs, int call, long ret)
{
	struct task_struct *task = current_task();
	if (call == MMAP) {
		on_mmap(task, ARG3_32(regs), ARG4_32(regs));
	} else if (call == OPEN_FLAGS_3) {
		on_open(task, ARG2_32(regs), ret);
	} else if (call == OPEN_FLAGS_2) {
		on_open(task, ARG1_32(regs), ret);
	} else if (call == CREAT) {
		on_open(task, O_TRUNC, ret);
	} else if (call == OPENAT2) {
		u64 open_flags = 0;
		bpf_probe_read_user(&open_flags, sizeof open_flags, (void *)(u64)ARG2_32(regs));
		on_open(task, open_flags, ret);
	} else if (call == TRUNCATE) {
		emit_path(ARG0_32(regs), -100, LS_OP_TRUNCATE);
	} else if (call == UTIMENSAT && ARG1_32(regs)) {
		emit_path(ARG1_32(regs), ARG0_32(regs), LS_OP_ATTR);
	} else if (call == IO_SUBMIT) {
		on_io_submit(ARG2_32(regs), 1, ret);
	} else if (call == MADVISE) {
		on_madvise(ARG0_32(regs), ARG1_32(regs), ARG2_32(regs));
	} else {
		u64 f = file_of(task, call == SPLICE_OUT ? ARG2_32(regs) : ARG0_32(regs));
		if (!f) return;
		if (call == WRITE_AT_POSITION || call == SENDFILE)
			emit_at_position(task, f, ret);
		else if (call == IOCTL)
			on_ioctl(task, f, ARG1_32(regs), ARG2_32(regs));
		else
			emit_file(f, call == UTIMENSAT ? LS_OP_ATTR : LS_OP_UNKNOWN, 0, 0, 0);
	}
}

static __always_inline void on_call(struct task_struct *task, struct pt_regs *regs,
				    unsigned long number, long ret)
{
	if (RUNS_32(task)) {
		int call_32 = calls32[number];
		if (call_32 == NONE || (int)ret < 0) return;
		if (ret == 0 && (call_32 <= SENDFILE || call_32 == SPLICE_OUT)) return;
		on_call_32(regs, call_32, ret);
		return;
	}
	int call = calls[number];
	if (call == NONE || call == OTHER || ret < 0) return;
	if (call <= SENDFILE) {
		if (ret > 0) on_write(task, regs, call, ret);
	} else if (call == SPLICE_OUT) {
		if (ret > 0) on_splice(task, regs, ret);
	} else {
		on_other(task, regs, call, ret);
	}
}

#include "under_way.h"

SEC("tp_btf/sys_exit")
int BPF_PROG(on_sys_exit, struct pt_regs *regs, long ret)
{
	unsigned long number = CALL_NUMBER(regs);
	/* Most calls of the machine end here. */
	if (number >= CALLS || (calls[number] | calls32[number]) == NONE) return 0;
	on_call(current_task(), regs, number, ret);
	end_call();
	return 0;
}

SEC("tp_btf/iomap_dio_complete")
int BPF_PROG(on_direct_io, struct kiocb *iocb, int error, long ret)
{
	if (ret <= 0 || !(iocb->ki_flags & IOCB_WRITE)) return 0;
	emit_file(address_at(&iocb->ki_filp), LS_OP_WRITE, 0, iocb->ki_pos - ret, ret);
	return 0;
}

static __always_inline void on_uring(void *request, long res)
{
	struct io_kiocb *req = cast(request, struct io_kiocb);
	u8 opcode = req->opcode;
	if (opcode == IORING_OP_OPENAT || opcode == IORING_OP_OPENAT2) {
		struct io_open *open = cast(request, struct io_open);
		if (res < 0 || !(open->how.flags & O_TRUNC)) return;
		if (open->file_slot)
			emit_rescan(); /* the file went to a slot of the ring, not to a descriptor */
		else
			on_open(current_task(), O_TRUNC, res);
		return;
	}
	if (opcode != IORING_OP_WRITE && opcode != IORING_OP_WRITEV &&
	    opcode != IORING_OP_WRITE_FIXED && opcode != IORING_OP_WRITEV_FIXED &&
	    opcode != IORING_OP_FALLOCATE && opcode != IORING_OP_SPLICE &&
	    opcode != IORING_OP_FTRUNCATE)
		return;
	u64 f = address_at(&req->file);
	if (!f || res < 0) return;
	__sync_fetch_and_add(&completions, 1);
	if (opcode == IORING_OP_FTRUNCATE) {
		struct io_ftrunc *cut = cast(request, struct io_ftrunc);
		emit_file(f, LS_OP_TRUNCATE, 0, cut->len, 0);
	} else if (opcode == IORING_OP_FALLOCATE || opcode == IORING_OP_SPLICE) {
		emit_file(f, LS_OP_UNKNOWN, 0, 0, 0);
	} else if (res > 0) {
		struct io_rw *rw = cast(request, struct io_rw);
		emit_file(f, LS_OP_WRITE, 0, rw->kiocb.ki_pos - res, res);
	}
}

SEC("tp_btf/io_uring_complete")
int on_io_uring(unsigned long long *ctx)
{
	void *request = (void *)ctx[1];
	if (!request) return 0;
	if (uring_args_old) {
		on_uring(request, (int)ctx[3]);
	} else {
		struct io_uring_cqe *cqe = (void *)ctx[2];
		on_uring(request, cqe->res);
	}
	return 0;
}

/* How a page that is made dirty now gets told. */
enum { BY_ITS_CALL, BY_ITS_COMPLETION, ONLY_HERE };

/*
 * BY_ITS_CALL: this very file is what the current call writes, and its exit tells the bytes.
 * ONLY_HERE: a store through a mapping, or a writer inside the kernel (a loop device, an overlay
 * mounted over the tree, a core dump): further changes of the page stay silent until it is clean.
 */
static __always_inline int told_by(struct task_struct *task, struct inode *inode)
{
	if (task->flags & PF_IO_WORKER) return BY_ITS_COMPLETION;
	if (task->flags & PF_KTHREAD) return ONLY_HERE;
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	unsigned long number = CALL_NUMBER(regs);
	if (number >= CALLS) return ONLY_HERE; /* a page fault: -1 */
	if (RUNS_32(task)) return calls32[number] == NONE ? ONLY_HERE : BY_ITS_COMPLETION;
	int call = calls[number];
	if (call == IO_SUBMIT || number == NR_IO_URING_ENTER) return BY_ITS_COMPLETION;
	if (call == NONE || call == MMAP || call == IOCTL || call == OTHER) return ONLY_HERE;
	if (call > FALLOCATE || call == TRUNCATE) return BY_ITS_COMPLETION;
	u64 f = file_of(task, call == SPLICE_OUT ? ARG2(regs) : ARG0(regs));
	return f && cast(f, struct file)->f_inode == inode ? BY_ITS_CALL : ONLY_HERE;
}

static __always_inline u64 folio_pages(struct folio *folio)
{
	unsigned long flags = 0;
	bpf_probe_read_kernel(&flags, sizeof flags, folio);
	if (!(flags & 1ul << 6)) return 1; /* PG_head: not a large folio */
	if (bpf_core_field_exists(folio->_nr_pages)) return folio->_nr_pages;
	struct folio___before_6_15 *old = (void *)folio;
	if (bpf_core_field_exists(old->_folio_nr_pages)) return BPF_CORE_READ(old, _folio_nr_pages);
	return 512;
}

SEC("tp_btf/writeback_dirty_folio")
int BPF_PROG(on_dirty_folio, struct folio *folio, struct address_space *mapping)
{
	if (!mapping) return 0;
	struct inode *inode = mapping->host;
	struct ls_followed on;
	if (!inode || !is_watched(inode->i_sb->s_dev, &on)) return 0;
	if ((inode->i_mode & S_IFMT) != S_IFREG) return 0;
	struct task_struct *task = current_task();
	bool mapped = mapping->i_mmap_writable.counter > 0;
	int told = told_by(task, inode);
	if (told == BY_ITS_CALL) return 0;
	u32 op = mapped || told == ONLY_HERE ? LS_OP_STORE : LS_OP_WRITE;
	u64 pos = (u64)folio->index << page_shift;
	emit_inode(address_at(&mapping->host), op, pos, folio_pages(folio) << page_shift);
	return 0;
}

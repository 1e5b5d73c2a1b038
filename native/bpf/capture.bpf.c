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
 *   that is full `lost_all` is set. User space turns either into a rescan: nothing is lost silently.
 * - The program never reports what its own process writes (`self_tgid` in the pid namespace given).
 * - Kernel structures are dereferenced directly through BTF pointers; helper calls for the same
 *   (BPF_CORE_READ) cost some 500 ns more on each write.
 */
#include "kernel_types.h"
#include "capture.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

extern void *bpf_rdonly_cast(void *obj, __u32 btf_id) __ksym;
#define cast(p, type) ((type *)bpf_rdonly_cast((void *)(p), bpf_core_type_id_kernel(type)))

/* Set before loading. */
const volatile u32 watched_dev = 0;
const volatile u64 root_ino = 0;
const volatile u32 self_tgid = 0;
const volatile u64 pidns_dev = 0;
const volatile u64 pidns_ino = 0;
const volatile u32 uring_args_old = 0; /* io_uring_complete passed res by value before 6.16 */
const volatile u32 page_shift = 12;

/* Shared with user space through the mapped .bss. */
u64 dropped = 0;
u64 lost_all = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
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

/* What a system call can change; index = system call number. */
enum call {
	NONE = 0,
	WRITE_AT_POSITION, /* write, writev */
	WRITE_AT_OFFSET,   /* pwrite64, pwritev: offset in the fourth argument */
	PWRITEV2,
	SENDFILE,
	SPLICE_OUT, /* splice, copy_file_range: third argument is the descriptor */
	FTRUNCATE,
	TRUNCATE,
	FALLOCATE,
	OPEN_FLAGS_2,
	OPEN_FLAGS_3,
	OPENAT2,
	CREAT,
	IOCTL,
	MMAP,
	UTIMENSAT,
	IO_SUBMIT,
};

#define CALLS 512
const u8 calls[CALLS] = {
#if defined(__TARGET_ARCH_x86)
	[1] = WRITE_AT_POSITION, [20] = WRITE_AT_POSITION, [18] = WRITE_AT_OFFSET,
	[296] = WRITE_AT_OFFSET, [328] = PWRITEV2, [40] = SENDFILE, [275] = SPLICE_OUT,
	[326] = SPLICE_OUT, [77] = FTRUNCATE, [76] = TRUNCATE, [285] = FALLOCATE,
	[2] = OPEN_FLAGS_2, [257] = OPEN_FLAGS_3, [437] = OPENAT2, [85] = CREAT, [16] = IOCTL,
	[9] = MMAP, [280] = UTIMENSAT, [209] = IO_SUBMIT,
#elif defined(__TARGET_ARCH_arm64)
	[64] = WRITE_AT_POSITION, [66] = WRITE_AT_POSITION, [68] = WRITE_AT_OFFSET,
	[70] = WRITE_AT_OFFSET, [287] = PWRITEV2, [71] = SENDFILE, [76] = SPLICE_OUT,
	[285] = SPLICE_OUT, [46] = FTRUNCATE, [45] = TRUNCATE, [47] = FALLOCATE,
	[56] = OPEN_FLAGS_3, [437] = OPENAT2, [29] = IOCTL, [222] = MMAP, [88] = UTIMENSAT,
	[2] = IO_SUBMIT,
#endif
};

#if defined(__TARGET_ARCH_x86)
#define CALL_NUMBER(r) ((long)(r)->orig_ax)
#define ARG0(r) ((r)->di)
#define ARG1(r) ((r)->si)
#define ARG2(r) ((r)->dx)
#define ARG3(r) ((r)->r10)
#define ARG4(r) ((r)->r8)
#define ARG5(r) ((r)->r9)
#elif defined(__TARGET_ARCH_arm64)
#define CALL_NUMBER(r) ((long)(r)->syscallno)
#define ARG0(r) ((r)->orig_x0)
#define ARG1(r) ((r)->regs[1])
#define ARG2(r) ((r)->regs[2])
#define ARG3(r) ((r)->regs[3])
#define ARG4(r) ((r)->regs[4])
#define ARG5(r) ((r)->regs[5])
#endif

#define S_IFMT 0170000
#define S_IFREG 0100000
#define FMODE_WRITE 2
#define O_APPEND 02000
#define O_TRUNC 01000
#define RWF_APPEND 0x10
#define MAP_SHARED 1
#define MAP_TYPE 0x0f
#define MAP_ANONYMOUS 0x20
#define FALLOC_FL_KEEP_SIZE 1
#define FALLOC_FL_COLLAPSE_RANGE 8
#define FALLOC_FL_INSERT_RANGE 0x20
#define FICLONE 0x40049409
#define FICLONERANGE 0x4020940d
#define UTIME_OMIT ((1l << 30) - 2l)
#define IOCB_WRITE (1 << 18)
#define PF_KTHREAD 0x00200000
#define PF_IO_WORKER 0x00000010
#define DEPTH_MAX 64
#define IO_SUBMIT_MAX 64

static __always_inline bool is_self(void)
{
	struct bpf_pidns_info {
		u32 pid, tgid;
	} ids = {};
	if (bpf_get_ns_current_pid_tgid(pidns_dev, pidns_ino, (void *)&ids, sizeof ids)) return 0;
	return ids.tgid == self_tgid;
}

/* 1 below the root, 0 outside, LS_FLAG_ALIAS + 1 when only user space can tell. */
static __always_inline int below_root(struct dentry *d, struct inode *inode)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < DEPTH_MAX; i++) {
		struct inode *at = d->d_inode;
		if (at && at->i_ino == root_ino) return 1;
		struct dentry *parent = d->d_parent;
		if (!parent || parent == d)
			return inode->__i_nlink > 1 ? LS_FLAG_ALIAS + 1 : 0;
		d = parent;
	}
	return LS_FLAG_ALIAS + 1;
}

static __always_inline void count_lost(u64 ino, u32 gen)
{
	__sync_fetch_and_add(&dropped, 1);
	if (bpf_map_update_elem(&lost, &ino, &gen, BPF_ANY)) lost_all = 1;
}

static __always_inline void emit(struct inode *inode, u8 op, u8 flags, u64 pos, u64 len)
{
	if (is_self()) return;
	if (inode->i_mapping->i_mmap_writable.counter > 0) flags |= LS_FLAG_MAPPED;
	struct ls_event *e = bpf_ringbuf_reserve(&ring, sizeof *e, 0);
	if (!e) {
		count_lost(inode->i_ino, inode->i_generation);
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
	e->path_bytes = 0;
	e->dir_fd = 0;
	bpf_ringbuf_submit(e, 0);
}

static __noinline void emit_rescan(void)
{
	lost_all = 1;
	struct ls_event *e = bpf_ringbuf_reserve(&ring, sizeof *e, 0);
	if (!e) return;
	__builtin_memset(e, 0, sizeof *e);
	e->op = LS_OP_RESCAN;
	e->time_ns = bpf_ktime_get_ns();
	bpf_ringbuf_submit(e, 0);
}

/* The regular file behind `f` when it lies on the watched filesystem; sets `where`. */
static __always_inline struct inode *watched_inode(struct file *f, int *where)
{
	struct inode *inode = f->f_inode;
	if (!inode || inode->i_sb->s_dev != watched_dev) return 0;
	if ((inode->i_mode & S_IFMT) != S_IFREG) return 0;
	*where = below_root(f->f_path.dentry, inode);
	return *where ? inode : 0;
}

static __noinline void emit_file(struct file *f, u8 op, u8 flags, u64 pos, u64 len)
{
	int where = 0;
	struct inode *inode = watched_inode(f, &where);
	if (inode) emit(inode, op, flags | (where - 1), pos, len);
}

static __always_inline struct file *file_of(struct task_struct *task, u32 fd)
{
	struct fdtable *table = task->files->fdt;
	if (fd >= table->max_fds) return 0;
	struct file *f = 0;
	bpf_probe_read_kernel(&f, sizeof f, table->fd + fd);
	return f ? cast(f, struct file) : 0;
}

/* A write at the descriptor's own position, which has just moved past it. */
static __always_inline void emit_at_position(struct task_struct *task, struct file *f, long ret)
{
	u8 flags = task->files->count.counter > 1 ? LS_FLAG_SHARED_POS : 0;
	emit_file(f, LS_OP_WRITE, flags, f->f_pos - ret, ret);
}

static __always_inline void emit_at_offset(struct file *f, u64 pos, long ret, bool append)
{
	if (append || (f->f_flags & O_APPEND))
		emit_file(f, LS_OP_WRITE, LS_FLAG_APPEND, 0, ret);
	else
		emit_file(f, LS_OP_WRITE, 0, pos, ret);
}

static __noinline void emit_path(const char *user_path, int dir_fd, u64 detail)
{
	if (is_self()) return;
	u32 zero = 0;
	struct path_record *r = bpf_map_lookup_elem(&scratch, &zero);
	if (!r) return;
	long n = bpf_probe_read_user_str(r->path, sizeof r->path, user_path);
	/* An unreadable or cut path cannot be resolved: have everything looked at instead. */
	if (n <= 1 || n >= LS_PATH_MAX) {
		emit_rescan();
		return;
	}
	__builtin_memset(&r->event, 0, sizeof r->event);
	r->event.op = LS_OP_PATH;
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
	r->event.path_bytes = bytes;
	if (bpf_ringbuf_output(&ring, r, sizeof r->event + bytes, 0)) {
		__sync_fetch_and_add(&dropped, 1);
		lost_all = 1;
	}
}

static __always_inline void on_fallocate(struct file *f, u64 mode, u64 pos, u64 len)
{
	if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
		emit_file(f, LS_OP_TRUNCATE, 0, pos, 0);
	else if (mode != FALLOC_FL_KEEP_SIZE)
		emit_file(f, LS_OP_WRITE, 0, pos, len);
}

static __always_inline void on_ioctl(struct file *f, u64 command, u64 argument)
{
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
	if (ARG1(regs)) {
		emit_path((const char *)ARG1(regs), ARG0(regs), LS_OP_ATTR);
		return;
	}
	struct file *f = file_of(task, ARG0(regs));
	if (f) emit_file(f, LS_OP_ATTR, 0, 0, 0);
}

/* Linux AIO: buffered requests are done by now, direct ones report again when they complete. */
static __always_inline void on_io_submit(struct task_struct *task, u64 list, long count)
{
	struct {
		u64 data;
		u32 key, rw_flags;
		u16 opcode;
		s16 priority;
		u32 fd;
		u64 buf, nbytes;
		s64 offset;
	} cb;
#pragma clang loop unroll(disable)
	for (int i = 0; i < IO_SUBMIT_MAX; i++) {
		u64 pointer = 0;
		if (i >= count) return;
		if (bpf_probe_read_user(&pointer, sizeof pointer, (void *)(list + i * 8))) return;
		if (bpf_probe_read_user(&cb, sizeof cb, (void *)pointer)) return;
		if (cb.opcode != 1 && cb.opcode != 8) continue;
		struct file *f = file_of(task, cb.fd);
		if (!f) continue;
		if (cb.opcode == 8)
			emit_file(f, LS_OP_UNKNOWN, 0, 0, 0);
		else
			emit_at_offset(f, cb.offset, cb.nbytes, 0);
	}
	if (count > IO_SUBMIT_MAX) emit_rescan();
}

static __always_inline void on_open(struct task_struct *task, u64 open_flags, long fd)
{
	if (!(open_flags & O_TRUNC)) return;
	struct file *f = file_of(task, fd);
	if (f && (f->f_mode & FMODE_WRITE)) emit_file(f, LS_OP_TRUNCATE, 0, 0, 0);
}

static __always_inline void on_mmap(struct task_struct *task, u64 flags, u32 fd)
{
	if ((flags & MAP_ANONYMOUS) || !((flags & MAP_TYPE) & MAP_SHARED)) return;
	struct file *f = file_of(task, fd);
	if (f && (f->f_mode & FMODE_WRITE)) emit_file(f, LS_OP_MAPPED, 0, 0, 0);
}

static __always_inline void on_splice(struct task_struct *task, struct pt_regs *regs, long ret)
{
	struct file *f = file_of(task, ARG2(regs));
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
	struct file *f = file_of(task, ARG0(regs));
	if (!f) return;
	if (call == WRITE_AT_POSITION || call == SENDFILE)
		emit_at_position(task, f, ret);
	else if (call == PWRITEV2 && (s64)ARG3(regs) == -1 && !(ARG5(regs) & RWF_APPEND))
		emit_at_position(task, f, ret);
	else
		emit_at_offset(f, ARG3(regs), ret,
			       call == PWRITEV2 && (ARG5(regs) & RWF_APPEND));
}

static __always_inline void on_other(struct task_struct *task, struct pt_regs *regs, int call,
				     long ret)
{
	struct file *f;
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
		on_io_submit(task, ARG2(regs), ret);
	} else if (call == TRUNCATE) {
		emit_path((const char *)ARG0(regs), -100, LS_OP_TRUNCATE | ARG1(regs) << 8);
	} else if ((f = file_of(task, ARG0(regs)))) {
		if (call == FTRUNCATE)
			emit_file(f, LS_OP_TRUNCATE, 0, ARG1(regs), 0);
		else if (call == FALLOCATE)
			on_fallocate(f, ARG1(regs), ARG2(regs), ARG3(regs));
		else if (call == IOCTL)
			on_ioctl(f, ARG1(regs), ARG2(regs));
	}
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_sys_exit, struct pt_regs *regs, long ret)
{
	unsigned long number = CALL_NUMBER(regs);
	if (number >= CALLS) return 0;
	int call = calls[number];
	if (call == NONE || ret < 0) return 0;
	struct task_struct *task = bpf_get_current_task_btf();
	if (call <= SENDFILE) {
		if (ret > 0) on_write(task, regs, call, ret);
	} else if (call == SPLICE_OUT) {
		if (ret > 0) on_splice(task, regs, ret);
	} else {
		on_other(task, regs, call, ret);
	}
	return 0;
}

SEC("tp_btf/iomap_dio_complete")
int BPF_PROG(on_direct_io, struct kiocb *iocb, int error, long ret)
{
	if (ret <= 0 || !(iocb->ki_flags & IOCB_WRITE)) return 0;
	struct file *f = iocb->ki_filp;
	emit_file(f, LS_OP_WRITE, 0, iocb->ki_pos - ret, ret);
	return 0;
}

/* Opcodes: include/uapi/linux/io_uring.h, stable. */
#define IORING_OP_WRITEV 2
#define IORING_OP_WRITE_FIXED 5
#define IORING_OP_FALLOCATE 17
#define IORING_OP_OPENAT 18
#define IORING_OP_WRITE 23
#define IORING_OP_OPENAT2 28
#define IORING_OP_SPLICE 30
#define IORING_OP_FTRUNCATE 55
#define IORING_OP_WRITEV_FIXED 61

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
			on_open(bpf_get_current_task_btf(), O_TRUNC, res);
		return;
	}
	if (opcode != IORING_OP_WRITE && opcode != IORING_OP_WRITEV &&
	    opcode != IORING_OP_WRITE_FIXED && opcode != IORING_OP_WRITEV_FIXED &&
	    opcode != IORING_OP_FALLOCATE && opcode != IORING_OP_SPLICE &&
	    opcode != IORING_OP_FTRUNCATE)
		return;
	struct file *f = req->file;
	if (!f || res < 0) return;
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

/* Whether the page is made dirty by a call that reports the same bytes itself. */
static __always_inline bool reported_by_call(struct task_struct *task)
{
	if (task->flags & (PF_KTHREAD | PF_IO_WORKER)) return 0;
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	unsigned long number = CALL_NUMBER(regs);
	if (number >= CALLS) return 0; /* a page fault: -1 */
	int call = calls[number];
	return call != NONE && call != MMAP;
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
	if (!inode || inode->i_sb->s_dev != watched_dev) return 0;
	if ((inode->i_mode & S_IFMT) != S_IFREG) return 0;
	struct task_struct *task = bpf_get_current_task_btf();
	bool mapped = mapping->i_mmap_writable.counter > 0;
	if (reported_by_call(task)) return 0;
	int where = LS_FLAG_ALIAS + 1;
	struct hlist_node *alias = inode->i_dentry.first;
	if (alias) {
		void *d = (void *)alias - bpf_core_field_offset(struct dentry, d_u.d_alias);
		where = below_root(cast(d, struct dentry), inode);
	}
	if (!where) return 0;
	emit(inode, mapped ? LS_OP_STORE : LS_OP_WRITE, where - 1, (u64)folio->index << page_shift,
	     folio_pages(folio) << page_shift);
	return 0;
}

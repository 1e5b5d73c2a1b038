/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The kernel types that the program reads, and only their fields: clang records each access, and
 * the loader fixes the offsets from the running kernel's BTF (CO-RE). By hand, because a full
 * vmlinux.h makes the object fifty times larger.
 */
#ifndef LOCKSTEP_KERNEL_TYPES_H
#define LOCKSTEP_KERNEL_TYPES_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;
typedef _Bool bool;

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r10, r9, r8, ax, bx, cx, dx, si, di, orig_ax;
};
struct thread_info {
	u32 status;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	u64 regs[31];
};
struct pt_regs {
	u64 regs[31];
	u64 orig_x0;
	int syscallno;
};
struct thread_info {
	unsigned long flags;
};
#endif

typedef struct {
	int counter;
} atomic_t;
typedef struct {
	s64 counter;
} atomic64_t;
typedef struct {
	atomic64_t refcnt;
} file_ref_t;

struct hlist_node {
	struct hlist_node *next;
};
struct hlist_head {
	struct hlist_node *first;
};
struct hlist_bl_node {
	struct hlist_bl_node *next, **pprev;
};
struct dentry;
struct super_block {
	u32 s_dev;
	struct dentry *s_root;
};
struct inode;
struct address_space {
	struct inode *host;
	atomic_t i_mmap_writable;
};
struct inode {
	u16 i_mode;
	struct super_block *i_sb;
	struct address_space *i_mapping;
	unsigned long i_ino;
	unsigned int __i_nlink;
	struct hlist_head i_dentry;
	u32 i_generation;
	s64 i_size;
};
struct dentry {
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct inode *d_inode;
	union {
		struct hlist_node d_alias;
	} d_u;
};
struct path {
	struct dentry *dentry;
};
struct file {
	u32 f_mode;
	struct inode *f_inode;
	u32 f_flags;
	struct path f_path;
	s64 f_pos;
	file_ref_t f_ref;
};
struct file___before_6_13 {
	atomic64_t f_count;
};
struct vm_area_struct {
	unsigned long vm_end;
	struct file *vm_file;
};
struct fdtable {
	u32 max_fds;
	struct file **fd;
};
struct files_struct {
	atomic_t count;
	struct fdtable *fdt;
};
struct fs_struct {
	struct path pwd;
};
struct task_struct {
	struct thread_info thread_info;
	u32 flags;
	int tgid;
	struct files_struct *files;
	struct fs_struct *fs;
};
struct kiocb {
	struct file *ki_filp;
	s64 ki_pos;
	int ki_flags;
};
struct folio {
	unsigned long index;
	u32 _nr_pages;
};
struct folio___before_6_15 {
	u32 _folio_nr_pages;
};

/* io_uring */
struct io_kiocb {
	struct file *file;
	u8 opcode;
};
struct io_rw {
	struct kiocb kiocb;
};
struct io_ftrunc {
	s64 len;
};
struct open_how {
	u64 flags;
};
struct io_open {
	u32 file_slot;
	struct open_how how;
};
struct io_uring_cqe {
	s32 res;
};

#pragma clang attribute pop

#endif

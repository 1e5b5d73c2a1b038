// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * The least capture that still is one: every write() and pwrite() that ends on a regular file
 * below one directory becomes an event with inode, offset and length. No names, no truncation, no
 * io_uring, no loss counter: this is the floor that a real capture is compared with.
 *
 * Invariant: offset = file position after the call - bytes written, which is right for O_APPEND.
 * Fields are dereferenced by BTF (bpf_rdonly_cast), not by BPF_CORE_READ helper calls, because
 * that is what costs least on system calls that do not concern us.
 * Source: kernel include/trace/events/syscalls.h, include/linux/fs.h.
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "event.h"

#if defined(__TARGET_ARCH_x86)
#define SYSCALL_WRITE 1
#define SYSCALL_PWRITE 18
#define SYSCALL_NUMBER(regs) ((regs)->orig_ax)
#define SYSCALL_FD(regs) ((regs)->di)
#define SYSCALL_OFFSET(regs) ((regs)->r10)
#elif defined(__TARGET_ARCH_arm64)
#define SYSCALL_WRITE 64
#define SYSCALL_PWRITE 68
#define SYSCALL_NUMBER(regs) ((regs)->syscallno)
#define SYSCALL_FD(regs) ((regs)->orig_x0)
#define SYSCALL_OFFSET(regs) ((regs)->regs[3])
#else
#error "unknown architecture"
#endif

#define DEPTH_MAX 32
#define MODE_TYPE 0170000
#define MODE_REGULAR 0100000

char LICENSE[] SEC("license") = "Dual MIT/GPL";

extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym;
#define KERNEL_CAST(object, type) \
	((type *)bpf_rdonly_cast((object), bpf_core_type_id_kernel(type)))

const volatile __u32 root_device = 0;
const volatile __u64 root_inode = 0;
const volatile __u32 own_tgid = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} events SEC(".maps");

static __always_inline bool below_root(struct dentry *entry) {
#pragma clang loop unroll(disable)
	for (int depth = 0; depth < DEPTH_MAX; depth++) {
		struct inode *inode = entry->d_inode;
		if (inode && inode->i_ino == root_inode) return true;
		struct dentry *parent = entry->d_parent;
		if (!parent || parent == entry) return false;
		entry = parent;
	}
	return false;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_exit, struct pt_regs *regs, long result) {
	long number = SYSCALL_NUMBER(regs);
	if (number != SYSCALL_WRITE && number != SYSCALL_PWRITE) return 0;
	if (result <= 0) return 0;
	struct task_struct *task = bpf_get_current_task_btf();
	if ((__u32)task->tgid == own_tgid) return 0;
	struct file **table = task->files->fdt->fd;
	struct file *file = NULL;
	bpf_probe_read_kernel(&file, sizeof file, table + (unsigned int)SYSCALL_FD(regs));
	if (!file) return 0;
	file = KERNEL_CAST(file, struct file);
	struct inode *inode = file->f_inode;
	if ((inode->i_mode & MODE_TYPE) != MODE_REGULAR) return 0;
	if (inode->i_sb->s_dev != root_device) return 0;
	if (!below_root(file->f_path.dentry)) return 0;
	struct floor_event *event = bpf_ringbuf_reserve(&events, sizeof *event, 0);
	if (!event) return 0;
	event->inode = inode->i_ino;
	event->length = (__u64)result;
	event->offset =
		number == SYSCALL_PWRITE ? SYSCALL_OFFSET(regs) : (__u64)(file->f_pos - result);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

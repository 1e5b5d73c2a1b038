/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Calls under way: those that may have changed something already and are told when they return
 * (docs/adr/0036-calls-under-way.md). Who reads a file may read a part of one, and must be able to
 * find out. Part of capture.bpf.c.
 *
 * A call takes a slot when it begins and leaves it after its record is in the ring. With the slot
 * stands the reader's moment, a number that the reader raises before each look at the ring: so it
 * knows which calls have begun before that look, and can follow nothing that was told later.
 */
#ifndef LOCKSTEP_UNDER_WAY_H
#define LOCKSTEP_UNDER_WAY_H

/* Shared with user space through the mapped .bss. */
struct ls_call under_way[LS_CALLS_MAX] = {};
/* Raised by user space before it looks at the ring. */
volatile u64 moment = 0;
/* The moment at which a call began last that found no slot, and one more: 0 is none. */
volatile u64 unlisted = 0;

/* A store that nobody sees before what was stored earlier. */
static __always_inline void store_after(u64 *at, u64 value)
{
#if defined(__TARGET_ARCH_x86)
	*(volatile u64 *)at = value; /* as any store */
#else
	asm volatile("r1 = %[at]\n"
		     "r2 = %[value]\n"
		     ".8byte 0x000000e1000021db\n" /* lock xchg of *(u64 *)r1: r2 */
		     :
		     : [at] "r"(at), [value] "r"(value)
		     : "r1", "r2", "memory");
#endif
}

/*
 * Writes `tag` to a slot that is free; what it held before. The instruction that clang emits for
 * __sync_val_compare_and_swap, which it knows only with -mcpu=v3: that would change all the rest.
 */
static __always_inline u64 take_slot(u64 *at, u64 tag)
{
	u64 before;
	asm volatile("r1 = %[at]\n"
		     "r2 = %[tag]\n"
		     "r0 = 0\n"
		     ".8byte 0x000000f1000021db\n" /* lock cmpxchg of *(u64 *)r1: r0, r2 */
		     "%[before] = r0\n"
		     : [before] "=r"(before)
		     : [at] "r"(at), [tag] "r"(tag)
		     : "r0", "r1", "r2", "memory");
	return before;
}

/* Of the two slots that a thread may have. */
static __always_inline struct ls_call *slot_of(u32 thread, u32 which)
{
	u32 at = which ? thread >> 7 ^ thread ^ 1 : thread;
	return &under_way[at & (LS_CALLS_MAX - 1)];
}

/* A call begins that may change the inode, 0: any, from `pos` on. */
static __always_inline void begin_call(u64 ino, u32 gen, u32 filesystem, u64 pos)
{
	u32 thread = (u32)bpf_get_current_pid_tgid();
	u64 now = moment, tag = now << 32 | thread;
	struct ls_call *c = slot_of(thread, 0);
	/* Its own, of a call that nobody saw return. */
	if ((u32)c->tag == thread) c->tag = 0;
	if (take_slot(&c->tag, tag)) {
		c = slot_of(thread, 1);
		if ((u32)c->tag == thread) c->tag = 0;
		if (take_slot(&c->tag, tag)) {
			unlisted = now + 1;
			return;
		}
	}
	if (!ino) return;
	c->pos = pos;
	c->gen = gen;
	c->filesystem = filesystem;
	/* Last: until then it is of any inode. */
	store_after(&c->ino, ino);
}

/* It returns, and has been told. */
static __always_inline void end_call(void)
{
	u32 thread = (u32)bpf_get_current_pid_tgid();
	struct ls_call *c = slot_of(thread, 0);
	if ((u32)c->tag != thread) {
		c = slot_of(thread, 1);
		if ((u32)c->tag != thread) return;
	}
	store_after(&c->ino, 0);
	store_after(&c->tag, 0);
}

/* One that writes to the file at this address. */
__noinline int begin_write(u64 file, u64 pos)
{
	struct file *f = cast(file, struct file);
	struct inode *inode = f->f_inode;
	struct ls_followed on;
	if (!inode || (inode->i_mode & S_IFMT) != S_IFREG) return 0;
	if (!is_watched(inode->i_sb->s_dev, &on)) return 0;
	/* What is appended begins where the file ends by then. */
	if (f->f_flags & O_APPEND) pos = inode->i_size;
	else if (pos == LS_AT_POSITION) pos = f->f_pos;
	begin_call(inode->i_ino, inode->i_generation, on.filesystem, pos);
	return 0;
}

/* Arguments of a call that names what it changes by a path. */
static __always_inline bool changes_path(struct pt_regs *regs, int call)
{
	if (call == OPEN_FLAGS_2) return ARG1(regs) & (O_TRUNC | O_CREAT);
	if (call == OPEN_FLAGS_3) return ARG2(regs) & (O_TRUNC | O_CREAT);
	if (call == MADVISE) return ARG2(regs) == MADV_REMOVE;
	return call != MMAP;
}

static __always_inline bool writes_file(struct pt_regs *regs, int call)
{
	u32 command = ARG1(regs);
	if (call == IOCTL)
		return changes_content(command) || command == FICLONE || command == FICLONERANGE;
	return call <= FTRUNCATE || call == FALLOCATE;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(on_sys_enter, struct pt_regs *regs, long id)
{
	unsigned long number = id;
	/* Most calls of the machine end here. */
	if (number >= CALLS || (calls[number] | calls32[number]) == NONE) return 0;
	struct task_struct *task = current_task();
	if (RUNS_32(task)) {
		int call_32 = calls32[number];
		if (call_32 != NONE && call_32 != MMAP && !is_self()) begin_call(0, 0, 0, 0);
		return 0;
	}
	int call = calls[number];
	if (call == NONE) return 0;
	if (writes_file(regs, call)) {
		u64 f = file_of(task, call == SPLICE_OUT ? ARG2(regs) : ARG0(regs));
		/* What pwritev2 appends, and what has its position elsewhere, may be anywhere. */
		u64 pos = call == WRITE_AT_POSITION ? LS_AT_POSITION : 0;
		if (call == WRITE_AT_OFFSET) pos = ARG3(regs);
		if (f) begin_write(f, pos);
	} else if (call != IOCTL && changes_path(regs, call) && !is_self()) {
		begin_call(0, 0, 0, 0);
	}
	return 0;
}

#endif

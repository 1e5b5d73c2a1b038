/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which system calls change bytes, by number, where their arguments are, and the constants of their
 * flags. Numbers are part of the kernel's ABI: arch/x86/entry/syscalls, scripts/syscall.tbl.
 */
#ifndef LOCKSTEP_CALLS_H
#define LOCKSTEP_CALLS_H

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
	MADVISE,
	OTHER, /* names and attributes, which fanotify tells of */
};

#define CALLS 512
const u8 calls[CALLS] = {
#if defined(__TARGET_ARCH_x86)
	[1] = WRITE_AT_POSITION, [20] = WRITE_AT_POSITION, [18] = WRITE_AT_OFFSET,
	[296] = WRITE_AT_OFFSET, [328] = PWRITEV2, [40] = SENDFILE, [275] = SPLICE_OUT,
	[326] = SPLICE_OUT, [77] = FTRUNCATE, [76] = TRUNCATE, [285] = FALLOCATE,
	[2] = OPEN_FLAGS_2, [257] = OPEN_FLAGS_3, [437] = OPENAT2, [85] = CREAT, [16] = IOCTL,
	[9] = MMAP, [280] = UTIMENSAT, [209] = IO_SUBMIT, [28] = MADVISE, [304] = OPEN_FLAGS_3,
	/* rename to chown, mknod, bind; times; attributes; the same at a descriptor */
	[82] = OTHER, [83] = OTHER, [84] = OTHER, [86] = OTHER, [87] = OTHER, [88] = OTHER,
	[90] = OTHER, [91] = OTHER, [92] = OTHER, [93] = OTHER, [94] = OTHER, [133] = OTHER,
	[49] = OTHER, [132] = OTHER, [235] = OTHER, [261] = OTHER, [188] = OTHER, [189] = OTHER,
	[190] = OTHER, [197] = OTHER, [198] = OTHER, [199] = OTHER, [463] = OTHER, [466] = OTHER,
	[258] = OTHER, [259] = OTHER, [260] = OTHER, [263] = OTHER, [264] = OTHER, [265] = OTHER,
	[266] = OTHER, [268] = OTHER, [316] = OTHER, [452] = OTHER,
#elif defined(__TARGET_ARCH_arm64)
	[64] = WRITE_AT_POSITION, [66] = WRITE_AT_POSITION, [68] = WRITE_AT_OFFSET,
	[70] = WRITE_AT_OFFSET, [287] = PWRITEV2, [71] = SENDFILE, [76] = SPLICE_OUT,
	[285] = SPLICE_OUT, [46] = FTRUNCATE, [45] = TRUNCATE, [47] = FALLOCATE,
	[56] = OPEN_FLAGS_3, [437] = OPENAT2, [29] = IOCTL, [222] = MMAP, [88] = UTIMENSAT,
	[2] = IO_SUBMIT, [233] = MADVISE, [265] = OPEN_FLAGS_3,
	/* attributes; mknod to rename; modes and owners; bind; the latest */
	[5] = OTHER, [6] = OTHER, [7] = OTHER, [14] = OTHER, [15] = OTHER, [16] = OTHER,
	[33] = OTHER, [34] = OTHER, [35] = OTHER, [36] = OTHER, [37] = OTHER, [38] = OTHER,
	[52] = OTHER, [53] = OTHER, [54] = OTHER, [55] = OTHER, [200] = OTHER, [276] = OTHER,
	[452] = OTHER, [463] = OTHER, [466] = OTHER,
#endif
};

/* The same for 32-bit programs, whose calls have numbers of their own (syscall_32.tbl, arm.tbl). */
const u8 calls32[CALLS] = {
	[4] = WRITE_AT_POSITION, [146] = WRITE_AT_POSITION, [181] = WRITE_AT_OFFSET, [187] = SENDFILE,
	[239] = SENDFILE, [93] = FTRUNCATE, [194] = FTRUNCATE, [92] = TRUNCATE, [193] = TRUNCATE,
	[5] = OPEN_FLAGS_2, [437] = OPENAT2, [8] = CREAT, [54] = IOCTL, [192] = MMAP, [412] = UTIMENSAT,
#if defined(__TARGET_ARCH_x86)
	[334] = WRITE_AT_OFFSET, [379] = WRITE_AT_OFFSET, [313] = SPLICE_OUT, [377] = SPLICE_OUT,
	[324] = FALLOCATE, [295] = OPEN_FLAGS_3, [342] = OPEN_FLAGS_3, [320] = UTIMENSAT,
	[248] = IO_SUBMIT, [219] = MADVISE,
#elif defined(__TARGET_ARCH_arm64)
	[362] = WRITE_AT_OFFSET, [393] = WRITE_AT_OFFSET, [340] = SPLICE_OUT, [391] = SPLICE_OUT,
	[352] = FALLOCATE, [322] = OPEN_FLAGS_3, [371] = OPEN_FLAGS_3, [348] = UTIMENSAT,
	[246] = IO_SUBMIT, [220] = MADVISE,
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
#define ARG0_32(r) ((u32)(r)->bx)
#define ARG1_32(r) ((u32)(r)->cx)
#define ARG2_32(r) ((u32)(r)->dx)
#define ARG3_32(r) ((u32)(r)->si)
#define ARG4_32(r) ((u32)(r)->di)
#define RUNS_32(task) ((task)->thread_info.status & 2) /* TS_COMPAT */
#elif defined(__TARGET_ARCH_arm64)
#define CALL_NUMBER(r) ((long)(r)->syscallno)
#define ARG0(r) ((r)->orig_x0)
#define ARG1(r) ((r)->regs[1])
#define ARG2(r) ((r)->regs[2])
#define ARG3(r) ((r)->regs[3])
#define ARG4(r) ((r)->regs[4])
#define ARG5(r) ((r)->regs[5])
#define ARG0_32(r) ((u32)(r)->orig_x0)
#define ARG1_32(r) ((u32)(r)->regs[1])
#define ARG2_32(r) ((u32)(r)->regs[2])
#define ARG3_32(r) ((u32)(r)->regs[3])
#define ARG4_32(r) ((u32)(r)->regs[4])
#define RUNS_32(task) ((task)->thread_info.flags & 1ul << 22) /* TIF_32BIT */
#endif

#define S_IFMT 0170000
#define S_IFREG 0100000
#define NR_IO_URING_ENTER 426 /* on every architecture */
#define FMODE_WRITE 2
#define FMODE_PATH 0x4000
#define O_APPEND 02000
#define O_CREAT 0100
#define O_TRUNC 01000
#define RWF_APPEND 0x10
#define RWF_NOAPPEND 0x20
#define MAP_SHARED 1
#define MAP_TYPE 0x0f
#define MAP_ANONYMOUS 0x20
#define FALLOC_FL_KEEP_SIZE 1
#define FALLOC_FL_COLLAPSE_RANGE 8
#define FALLOC_FL_INSERT_RANGE 0x20
#define FICLONE 0x40049409
#define FICLONERANGE 0x4020940d
#define FS_IOC_RESVSP 0x40305828
#define FS_IOC_RESVSP64 0x4030582a
#define FS_IOC_UNRESVSP 0x40305829
#define FS_IOC_UNRESVSP64 0x4030582b
#define FS_IOC_ZERO_RANGE 0x40305839
#define EXT4_IOC_MOVE_EXT 0xc028660f
#define XFS_IOC_SWAPEXT 0xc0c0586d
#define XFS_IOC_EXCHANGE_RANGE 0x40285881
#define BTRFS_IOC_ENCODED_WRITE 0x40809440
#define AT_EMPTY_PATH 0x1000
#define MADV_REMOVE 9
#define UTIME_OMIT ((1l << 30) - 2l)
#define IOCB_WRITE (1 << 18)
#define PF_KTHREAD 0x00200000
#define PF_IO_WORKER 0x00000010
#define DEPTH_MAX 64
#define IO_SUBMIT_MAX 65536

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

#endif

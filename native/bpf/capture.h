/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The ABI between the eBPF program and the addon: one fixed-width record in the ring buffer per
 * change of bytes, and the configuration written before the program is loaded.
 * Every record is written whole: no padding is left uninitialised.
 */
#ifndef LOCKSTEP_CAPTURE_H
#define LOCKSTEP_CAPTURE_H

#define LS_PATH_MAX 1024

enum ls_op {
	LS_OP_WRITE = 1,    /* [pos, pos+len) changed */
	/* [pos, end) is dirty; a len of 1: nothing is there, the file was cut or grown to pos bytes */
	LS_OP_TRUNCATE = 2,
	LS_OP_UNKNOWN = 3,  /* content changed, extent unknown */
	LS_OP_STORE = 4,    /* [pos, pos+len) is being stored to through a shared mapping */
	LS_OP_MAPPED = 5,   /* a writable shared mapping of the file was made */
	LS_OP_ATTR = 6,     /* times set by descriptor in a way that fanotify does not report */
	LS_OP_PATH = 7,     /* a change named by a path string, which follows the record; the inode is
	                       the directory that a relative path starts at, 0 if unknown; len is
	                       the path's bytes, without NUL */
	LS_OP_RESCAN = 8,   /* a change that cannot be attributed to a file */
};

enum ls_flag {
	LS_FLAG_SHARED_POS = 1, /* the descriptor's position may have been moved by another thread */
	LS_FLAG_MAPPED = 2,     /* writable shared mappings of the file exist */
	LS_FLAG_ALIAS = 4,      /* not seen below the root by this name: decide by inode */
	LS_FLAG_APPEND = 8,     /* positioned, append-only descriptor: extent ends the file */
};

struct ls_event {
	unsigned long long ino;
	unsigned long long pos;
	unsigned long long len;
	unsigned long long time_ns; /* CLOCK_MONOTONIC at the end of the change */
	unsigned int gen;
	unsigned int tgid; /* process, as the initial pid namespace numbers it */
	unsigned char op;
	unsigned char flags;
	unsigned short filesystem; /* 0 for the root's, else what user space calls it: ls_followed */
	int dir_fd;                /* LS_OP_PATH: the directory descriptor that the path starts at */
};

/* A filesystem mounted below the root, by the device number of its superblock. */
struct ls_followed {
	unsigned long long root_ino; /* of the directory that is mounted */
	unsigned int filesystem;
	unsigned int tells_dirty_inodes;
};

/* An inode of which records were lost. */
struct ls_lost {
	unsigned long long ino;
	unsigned int filesystem;
	unsigned int zero;
};

/* A call that has begun and was not told yet; free while its tag is 0. */
struct ls_call {
	unsigned long long tag; /* the reader's moment at its beginning, above the thread's number */
	unsigned long long ino; /* 0: whichever */
	unsigned long long pos; /* nothing before it is changed */
	unsigned int gen;
	unsigned int filesystem;
};

/* Calls under way at once, at most: a power of two. */
#define LS_CALLS_MAX 256
/* begin_write(): at the descriptor's own position. */
#define LS_AT_POSITION (~0ull)

#define LS_FOLLOWED_MAX 64
/* The bit of a device in `followed_bits`. */
#define LS_FOLLOWED_BIT(dev) (1ull << ((dev) & 63))

_Static_assert(sizeof(struct ls_event) == 48, "ls_event is part of the ABI");
_Static_assert(sizeof(struct ls_followed) == 16, "ls_followed is part of the ABI");
_Static_assert(sizeof(struct ls_call) == 32, "ls_call is part of the ABI");
_Static_assert(sizeof(struct ls_lost) == 16, "ls_lost is part of the ABI");

#endif

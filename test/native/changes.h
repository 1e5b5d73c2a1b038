/* SPDX-License-Identifier: MIT */
/* What changes.c and changes-async.c share: the table of changes, and how a change gives up. */
#ifndef LOCKSTEP_CHANGES_H
#define LOCKSTEP_CHANGES_H

#include <stddef.h>

/* Where and how much the changes write, unless their name says otherwise. */
#define POSITION 5000
#define LENGTH 3000
#define BLOCK 4096

struct change {
	const char *name;
	void (*run)(char **args);
};
extern const struct change asynchronous_changes[];

/* Ends the program: 77 when this kernel or filesystem has no such call, else 1. */
void check(int succeeded, const char *what);
int open_file(const char *path, int flags);
/* `bytes` of content that differs from every file that the tests prepare, 4096-aligned. */
char *new_content(size_t bytes);
/* Says "ready" on stdout and waits for a byte on stdin. */
void wait_for_test(void);

#endif

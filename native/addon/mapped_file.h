/* SPDX-License-Identifier: MIT */
#ifndef LOCKSTEP_MAPPED_FILE_H
#define LOCKSTEP_MAPPED_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Closed and never opened: all zero. */
struct mapped_file {
	uint8_t *data;
	size_t bytes;
};

/* So many bytes of an open file, all of which it must have. False: they cannot be mapped. */
bool mapped_file_open(struct mapped_file *f, int fd, size_t bytes);
/*
 * Stores the parts one behind the other, in this order; all must be within the mapping. False: not
 * all of them are there.
 */
bool mapped_file_store(struct mapped_file *f, size_t at, const struct iovec *parts, int count);
void mapped_file_close(struct mapped_file *f);

#endif

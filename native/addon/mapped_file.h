/* SPDX-License-Identifier: MIT */
#ifndef LOCKSTEP_MAPPED_FILE_H
#define LOCKSTEP_MAPPED_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Not mapped (any more): no data. */
struct mapped_file {
	uint8_t *data;
	size_t bytes;
};

/*
 * Stores the parts one behind the other, in this order. False: they are not within what is mapped,
 * or not all of them are there.
 */
bool mapped_file_store(struct mapped_file *f, double at, const struct iovec *parts, int count);
/* Of a file that turned out shorter part of a page could still be stored into, for nobody. */
void mapped_file_close(struct mapped_file *f);

#endif

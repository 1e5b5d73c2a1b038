/* SPDX-License-Identifier: MIT */
/*
 * A file that is written by stores into a shared mapping: for small records that must outlive this
 * process, not the machine. A store costs a tenth of a pwrite; the kernel shows both alike to
 * whoever reads the file later, and what was stored before a SIGKILL is there.
 *
 * A store may fail only by SIGBUS (truncated, no space, a disk that fails); it is caught here, and
 * the caller writes in the ordinary way, which then says what is wrong.
 */
#include "mapped_file.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static __thread sigjmp_buf *guarded;
static struct sigaction before;
static bool is_caught;

static void caught(int number, siginfo_t *info, void *context)
{
	if (guarded) siglongjmp(*guarded, 1);
	/* Not one of ours: the store is repeated, and goes to whoever had the signal. */
	sigaction(SIGBUS, &before, NULL);
}

static bool catch_faults(void)
{
	struct sigaction action = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_NODEFER };
	if (!is_caught) is_caught = !sigaction(SIGBUS, &action, &before);
	return is_caught;
}

bool mapped_file_open(struct mapped_file *f, int fd, size_t bytes)
{
	struct stat stat;
	f->data = NULL;
	if (fstat(fd, &stat) || stat.st_size < (off_t)bytes || !catch_faults()) return false;
	void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED) return false;
	/* So that the first store into a page is not the one that has to find it. */
	if (madvise(data, bytes, MADV_POPULATE_WRITE) && errno != EINVAL) {
		munmap(data, bytes);
		return false;
	}
	f->data = data;
	f->bytes = bytes;
	return true;
}

static __attribute__((noinline)) void store_all(uint8_t *to, const struct iovec *parts, int count)
{
	for (int i = 0; i < count; to += parts[i++].iov_len) {
		memcpy(to, parts[i].iov_base, parts[i].iov_len);
		/* A later part says that the earlier ones are there. */
		__asm__ volatile("" ::: "memory");
	}
}

bool mapped_file_store(struct mapped_file *f, size_t at, const struct iovec *parts, int count)
{
	sigjmp_buf here;
	bool is_stored = !sigsetjmp(here, 0);
	if (is_stored) {
		guarded = &here;
		store_all(f->data + at, parts, count);
	}
	guarded = NULL;
	return is_stored;
}

void mapped_file_close(struct mapped_file *f)
{
	if (f->data) munmap(f->data, f->bytes);
	f->data = NULL;
}

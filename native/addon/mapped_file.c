/* SPDX-License-Identifier: MIT */
/*
 * A file that is written by stores into a shared mapping: for small records that must outlive this
 * process, not the machine. A store costs a tenth of a pwrite; the kernel shows both alike to
 * whoever reads the file later, and what was stored before a SIGKILL is there.
 *
 * A store may fail only by SIGBUS (truncated, no space, a disk that fails); it is caught here, and
 * the caller writes in the ordinary way, which then says what is wrong.
 */
#include "addon.h"
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

/* A memcpy has no order; who is killed in the middle of one has not stored these. */
enum { LAST_BYTES = 32 };

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

static bool open_map(struct mapped_file *f, int fd, size_t bytes)
{
	struct stat stat;
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

bool mapped_file_store(struct mapped_file *f, double at, const struct iovec *parts, int count)
{
	sigjmp_buf here;
	double end = at;
	for (int i = 0; i < count; i++) end += (double)parts[i].iov_len;
	if (!f || !f->data || at < 0 || end > (double)f->bytes) return false;
	bool is_stored = !sigsetjmp(here, 0);
	if (is_stored) {
		guarded = &here;
		store_all(f->data + (size_t)at, parts, count);
	}
	guarded = NULL;
	return is_stored;
}

void mapped_file_close(struct mapped_file *f)
{
	if (!f || !f->data) return;
	munmap(f->data, f->bytes);
	f->data = NULL;
}

static void free_map(napi_env env, void *data, void *hint)
{
	mapped_file_close(data);
	free(data);
}

FUNCTION(fn_map_file)
{
	struct args a = args_of(env, info);
	struct mapped_file *f = calloc(1, sizeof *f);
	napi_value out;
	napi_get_undefined(env, &out);
	if (f && open_map(f, arg_int(&a, 0), (size_t)arg_int64(&a, 1)))
		napi_create_external(env, f, free_map, NULL, &out);
	else
		free(f);
	return out;
}

FUNCTION(fn_store_mapped)
{
	struct args a = args_of(env, info);
	struct bytes b = arg_bytes(&a, 2);
	size_t offset = (size_t)arg_int64(&a, 3), length = (size_t)arg_int64(&a, 4);
	napi_value out;
	bool is_within = offset <= b.length && length <= b.length - offset;
	size_t last = length < LAST_BYTES ? length : LAST_BYTES;
	struct iovec parts[2] = {
		{ b.data + offset, length - last }, { b.data + offset + length - last, last },
	};
	bool is_stored = is_within &&
			 mapped_file_store(arg_handle(&a, 0), (double)arg_int64(&a, 1), parts, 2);
	napi_get_boolean(env, is_stored, &out);
	return out;
}

FUNCTION(fn_unmap_file)
{
	struct args a = args_of(env, info);
	mapped_file_close(arg_handle(&a, 0));
	return NULL;
}

void mapped_file_exports(napi_env env, napi_value exports)
{
	export_function(env, exports, "mapFile", fn_map_file);
	export_function(env, exports, "storeMapped", fn_store_mapped);
	export_function(env, exports, "unmapFile", fn_unmap_file);
}

/* SPDX-License-Identifier: MIT */
/* What of files is on the disk, and getting it there: the calls of src/world/files.ts that wait. */
#include "addon.h"
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

FUNCTION(fn_sync_filesystem)
{
	struct args a = args_of(env, info);
	return result(env, syncfs(arg_int(&a, 0)));
}

FUNCTION(fn_fsync)
{
	struct args a = args_of(env, info);
	return result(env, arg_int(&a, 1) ? fdatasync(arg_int(&a, 0)) : fsync(arg_int(&a, 0)));
}

/*
 * cleanPages(fd, offset, length, waits): starts write-out, which write-protects mapped pages again.
 * A page that is being written out already is left as it is, unless it waits for that.
 */
FUNCTION(fn_clean_pages)
{
	struct args a = args_of(env, info);
	unsigned int wait = arg_int(&a, 3) ? SYNC_FILE_RANGE_WAIT_BEFORE : 0;
	return result(env, sync_file_range(arg_int(&a, 0), arg_int64(&a, 1), arg_int64(&a, 2),
					   wait | SYNC_FILE_RANGE_WRITE));
}

/* dirtyPages(fd, offset, length): pages of the extent that are dirty or being written out. */
FUNCTION(fn_dirty_pages)
{
	struct args a = args_of(env, info);
	struct { uint64_t off, len; } range = {
		(uint64_t)arg_int64(&a, 1), (uint64_t)arg_int64(&a, 2)
	};
	struct { uint64_t cache, dirty, writeback, evicted, recently_evicted; } stats = { 0 };
	if (syscall(451 /* cachestat */, arg_int(&a, 0), &range, &stats, 0)) return result(env, -1);
	return result(env, (int64_t)stats.dirty);
}

void fs_disk_exports(napi_env env, napi_value exports)
{
	export_function(env, exports, "fsync", fn_fsync);
	export_function(env, exports, "syncFilesystem", fn_sync_filesystem);
	export_function(env, exports, "cleanPages", fn_clean_pages);
	export_function(env, exports, "dirtyPages", fn_dirty_pages);
}

/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes by descriptor and name: the kernel has no *at form of these calls (before
 * 6.13), so they go through /proc/self/fd. ACLs and file capabilities are attributes too.
 */
#include "addon.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Attributes of one file; one with more is a problem of its path (E2BIG). */
#define ATTRIBUTES_MAX 1024

/* Paths below a descriptor for the calls that have no *at form. */
const char *proc_path(int dirfd, const char *name)
{
	static char path[PATH_MAX + 64];
	if (*name)
		snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dirfd, name);
	else
		snprintf(path, sizeof path, "/proc/self/fd/%d", dirfd);
	return path;
}

#ifndef SYS_listxattrat
#define SYS_listxattrat 465
#endif

ssize_t list_attributes(int dirfd, const char *name, char *list, size_t size)
{
	static bool has_call = true; /* Linux 6.13 */
	ssize_t n;
	if (!*name) {
		n = flistxattr(dirfd, list, size);
		if (n >= 0 || errno != EBADF) return n; /* opened with O_PATH */
	} else if (has_call) {
		n = syscall(SYS_listxattrat, dirfd, name, AT_SYMLINK_NOFOLLOW, list, size);
		/* A filter of system calls may answer EPERM to one that it does not know. */
		if (n >= 0 || (errno != ENOSYS && errno != EPERM)) return n;
		if (errno == ENOSYS) has_call = false;
	}
	/* An empty name is the descriptor itself, whose magic link must be followed. */
	return *name ? llistxattr(proc_path(dirfd, name), list, size)
		     : listxattr(proc_path(dirfd, name), list, size);
}

static bool put(struct bytes *out, size_t *used, const void *data, size_t length)
{
	if (out->length - *used < length) return false;
	memcpy(out->data + *used, data, length);
	*used += length;
	return true;
}

static int by_name(const void *x, const void *y)
{
	return strcmp(*(char *const *)x, *(char *const *)y);
}

/*
 * getAttributes(dirfd, name, buffer): bytes. Extended attributes sorted by name, each as u16 name
 * length, name, u32 value length, value. -ERANGE when the buffer is too small, -E2BIG for too many.
 */
FUNCTION(fn_get_attributes)
{
	struct args a = args_of(env, info);
	NAME(1);
	struct bytes out = arg_bytes(&a, 2);
	static char list[65536], value[65536];
	char *names[ATTRIBUTES_MAX];
	size_t count = 0, used = 0;
	int dirfd = arg_int(&a, 0);
	bool self = !*name;
	ssize_t n = list_attributes(dirfd, name, list, sizeof list);
	if (n < 0 && (errno == ENOTSUP || errno == EPERM)) return result(env, 0);
	if (n < 0) return result(env, -1);
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(list + at) + 1) {
		if (count == ATTRIBUTES_MAX) {
			errno = E2BIG;
			return result(env, -1);
		}
		names[count++] = list + at;
	}
	qsort(names, count, sizeof *names, by_name);
	for (size_t i = 0; i < count; i++) {
		const char *path = proc_path(dirfd, name);
		ssize_t size = self ? getxattr(path, names[i], value, sizeof value)
				    : lgetxattr(path, names[i], value, sizeof value);
		if (size < 0 && (errno == ENODATA || errno == EPERM || errno == EACCES)) continue;
		if (size < 0) return result(env, -1);
		uint16_t name_bytes = (uint16_t)strlen(names[i]);
		uint32_t value_bytes = (uint32_t)size;
		if (!put(&out, &used, &name_bytes, 2) || !put(&out, &used, names[i], name_bytes) ||
		    !put(&out, &used, &value_bytes, 4) || !put(&out, &used, value, value_bytes)) {
			errno = ERANGE;
			return result(env, -1);
		}
	}
	return result(env, (int64_t)used);
}

/* setAttribute(dirfd, name, attribute, value) */
FUNCTION(fn_set_attribute)
{
	struct args a = args_of(env, info);
	const char *attribute = arg_name(&a, 2);
	NAME(1);
	struct bytes value = arg_bytes(&a, 3);
	if (!attribute) return bad_name(env);
	const char *path = proc_path(arg_int(&a, 0), name);
	return result(env, *name ? lsetxattr(path, attribute, value.data, value.length, 0)
				 : setxattr(path, attribute, value.data, value.length, 0));
}

/* removeAttribute(dirfd, name, attribute) */
FUNCTION(fn_remove_attribute)
{
	struct args a = args_of(env, info);
	const char *attribute = arg_name(&a, 2);
	NAME(1);
	if (!attribute) return bad_name(env);
	const char *path = proc_path(arg_int(&a, 0), name);
	return result(env, *name ? lremovexattr(path, attribute) : removexattr(path, attribute));
}

void attribute_exports(napi_env env, napi_value exports)
{
	export_function(env, exports, "getAttributes", fn_get_attributes);
	export_function(env, exports, "setAttribute", fn_set_attribute);
	export_function(env, exports, "removeAttribute", fn_remove_attribute);
}

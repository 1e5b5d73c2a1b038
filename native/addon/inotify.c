/* SPDX-License-Identifier: MIT */
/* inotify's calls; the records are parsed in src/capture/inotify.ts (layout: man 7 inotify). */
#include "addon.h"
#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

/* inotifyInit(): descriptor. */
static napi_value fn_init(napi_env env, napi_callback_info info)
{
	return result(env, inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
}

/* inotifyAdd(fd, directoryFd, mask): watch descriptor. By descriptor, so that no path can race. */
static napi_value fn_add(napi_env env, napi_callback_info info)
{
	struct args a = args_of(env, info);
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", arg_int(&a, 1));
	return result(env, inotify_add_watch(arg_int(&a, 0), path, arg_uint(&a, 2)));
}

/* inotifyRemove(fd, watch): 0. */
static napi_value fn_remove(napi_env env, napi_callback_info info)
{
	struct args a = args_of(env, info);
	return result(env, inotify_rm_watch(arg_int(&a, 0), arg_int(&a, 1)));
}

/* inotifyRead(fd, buffer): bytes of whole records, 0 when none wait. */
static napi_value fn_read(napi_env env, napi_callback_info info)
{
	struct args a = args_of(env, info);
	struct bytes out = arg_bytes(&a, 1);
	ssize_t n = read(arg_int(&a, 0), out.data, out.length);
	if (n < 0 && errno == EAGAIN) n = 0;
	return result(env, n);
}

void inotify_exports(napi_env env, napi_value exports)
{
	export_function(env, exports, "inotifyInit", fn_init);
	export_function(env, exports, "inotifyAdd", fn_add);
	export_function(env, exports, "inotifyRemove", fn_remove);
	export_function(env, exports, "inotifyRead", fn_read);
}

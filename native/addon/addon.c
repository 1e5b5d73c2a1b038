/* SPDX-License-Identifier: MIT */
/* The addon's entry and its argument access. Nothing here keeps state. */
#include "addon.h"
#include <errno.h>
#include <linux/limits.h>
#include <string.h>

struct args args_of(napi_env env, napi_callback_info info)
{
	struct args a = { .env = env, .count = ARGS_MAX };
	napi_get_cb_info(env, info, &a.count, a.value, NULL, NULL);
	return a;
}

int32_t arg_int(const struct args *a, size_t index)
{
	int32_t v = 0;
	napi_get_value_int32(a->env, a->value[index], &v);
	return v;
}

uint32_t arg_uint(const struct args *a, size_t index)
{
	uint32_t v = 0;
	napi_get_value_uint32(a->env, a->value[index], &v);
	return v;
}

int64_t arg_int64(const struct args *a, size_t index)
{
	int64_t v = 0;
	napi_get_value_int64(a->env, a->value[index], &v);
	return v;
}

struct bytes arg_bytes(const struct args *a, size_t index)
{
	struct bytes b = { NULL, 0 };
	bool typed = false;
	napi_is_typedarray(a->env, a->value[index], &typed);
	if (!typed) return b;
	napi_typedarray_type type;
	size_t length;
	void *data;
	napi_get_typedarray_info(a->env, a->value[index], &type, &length, &data, NULL, NULL);
	b.data = data;
	bool words = type == napi_uint32_array || type == napi_int32_array;
	b.length = type == napi_float64_array ? length * 8 : words ? length * 4 : length;
	return b;
}

void *arg_handle(const struct args *a, size_t index)
{
	void *data = NULL;
	napi_get_value_external(a->env, a->value[index], &data);
	return data;
}

const char *arg_name(const struct args *a, size_t index)
{
	static char buffers[4][PATH_MAX];
	static unsigned next;
	struct bytes b = arg_bytes(a, index);
	if (b.length >= PATH_MAX || (b.length && memchr(b.data, 0, b.length))) return NULL;
	char *name = buffers[next++ & 3];
	if (b.length) memcpy(name, b.data, b.length);
	name[b.length] = 0;
	return name;
}

napi_value number(napi_env env, double value)
{
	napi_value v;
	napi_create_double(env, value, &v);
	return v;
}

napi_value result(napi_env env, int64_t value)
{
	napi_value v;
	int64_t r = value < 0 ? -errno : value;
	if (r >= INT32_MIN && r <= INT32_MAX)
		napi_create_int32(env, (int32_t)r, &v);
	else
		napi_create_int64(env, r, &v);
	return v;
}

void export_function(napi_env env, napi_value exports, const char *name, napi_callback function)
{
	napi_value v;
	napi_create_function(env, name, NAPI_AUTO_LENGTH, function, NULL, &v);
	napi_set_named_property(env, exports, name, v);
}

NAPI_MODULE_INIT()
{
	fs_exports(env, exports);
	fs_disk_exports(env, exports);
	attribute_exports(env, exports);
	poll_exports(env, exports);
	tls_exports(env, exports);
	capture_exports(env, exports);
	capture_hot_exports(env, exports);
	capture_begun_exports(env, exports);
	inotify_exports(env, exports);
	delta_exports(env, exports);
	mapped_file_exports(env, exports);
	lane_exports(env, exports);
	express_exports(env, exports);
	return exports;
}

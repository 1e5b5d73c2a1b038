/* SPDX-License-Identifier: MIT */
/*
 * Calls JavaScript when a descriptor becomes readable or writable, on the event loop's own thread.
 *
 * Node has no public way to wait for an arbitrary descriptor, so this uses libuv, which is linked
 * into node. Its few functions are declared here: libuv's header is not part of Node-API's headers,
 * and these have been stable since libuv 1.0. The handle's size is asked of the library.
 */
#include "addon.h"
#include <errno.h>
#include <stdlib.h>

typedef struct uv_loop_s uv_loop_t;
struct uv_handle {
	void *data; /* the first member of every libuv handle: docs.libuv.org, uv_handle_t.data */
};
enum { UV_POLL = 8, UV_READABLE = 1, UV_WRITABLE = 2, UV_DISCONNECT = 4, UV_PRIORITIZED = 8 };
extern int uv_poll_init(uv_loop_t *loop, struct uv_handle *handle, int fd);
extern int uv_poll_start(struct uv_handle *handle, int events,
			 void (*callback)(struct uv_handle *, int status, int events));
extern int uv_poll_stop(struct uv_handle *handle);
extern void uv_close(struct uv_handle *handle, void (*callback)(struct uv_handle *));
extern void uv_unref(struct uv_handle *handle);
extern size_t uv_handle_size(int type);
extern int napi_uv_loop(napi_env env, uv_loop_t **loop) __asm__("napi_get_uv_event_loop");

struct poll {
	napi_env env;
	napi_ref callback;
	napi_async_context context;
	struct uv_handle *handle;
	bool (*first)(void *data);
	void *first_data;
};

/* Told in the place of events: what was readable has been dealt with. */
#define POLL_DEALT 16

static void on_ready(struct uv_handle *handle, int status, int events)
{
	struct poll *p = handle->data;
	if (status == 0 && events == UV_READABLE && p->first && p->first(p->first_data))
		events = POLL_DEALT;
	napi_handle_scope scope;
	napi_value function, global, ignored, argument;
	napi_open_handle_scope(p->env, &scope);
	napi_get_reference_value(p->env, p->callback, &function);
	napi_get_global(p->env, &global);
	napi_create_int32(p->env, status < 0 ? status : events, &argument);
	if (napi_make_callback(p->env, p->context, global, function, 1, &argument, &ignored) ==
	    napi_pending_exception) {
		napi_value error;
		napi_get_and_clear_last_exception(p->env, &error);
		napi_fatal_exception(p->env, error);
	}
	napi_close_handle_scope(p->env, scope);
}

void poll_try_first(void *poll, bool (*first)(void *data), void *data)
{
	struct poll *p = poll;
	p->first = first;
	p->first_data = data;
}

static void on_closed(struct uv_handle *handle)
{
	struct poll *p = handle->data;
	napi_delete_reference(p->env, p->callback);
	napi_async_destroy(p->env, p->context);
	free(p->handle);
	free(p);
}

/*
 * pollStart(fd, callback): handle. The descriptor stays the caller's. Begins by waiting for it to
 * become readable; the callback gets the events, or a negative status.
 */
static napi_value poll_start(napi_env env, napi_callback_info info)
{
	struct args a = args_of(env, info);
	struct poll *p = calloc(1, sizeof *p);
	uv_loop_t *loop;
	napi_value name, out;
	p->env = env;
	p->handle = calloc(1, uv_handle_size(UV_POLL));
	p->handle->data = p;
	napi_create_string_utf8(env, "lockstep:poll", NAPI_AUTO_LENGTH, &name);
	napi_create_reference(env, a.value[1], 1, &p->callback);
	napi_async_init(env, NULL, name, &p->context);
	napi_uv_loop(env, &loop);
	int error = uv_poll_init(loop, p->handle, arg_int(&a, 0));
	if (!error) error = uv_poll_start(p->handle, UV_READABLE, on_ready);
	if (error) {
		napi_throw_error(env, "POLL", "the descriptor cannot be polled");
		return NULL;
	}
	napi_create_external(env, p, NULL, NULL, &out);
	return out;
}

/*
 * pollSet(handle, events): waits for these from now on: 1 readable, 2 writable, 4 hung up,
 * 8 priority.
 */
static napi_value poll_set(napi_env env, napi_callback_info info)
{
	struct args a = args_of(env, info);
	struct poll *p = arg_handle(&a, 0);
	int allowed = UV_READABLE | UV_WRITABLE | UV_DISCONNECT | UV_PRIORITIZED;
	int events = arg_int(&a, 1) & allowed;
	if (p && events)
		uv_poll_start(p->handle, events, on_ready);
	else if (p)
		uv_poll_stop(p->handle);
	return NULL;
}

/* pollStop(handle): no callback comes after it. To be called once. */
static napi_value poll_stop(napi_env env, napi_callback_info info)
{
	struct args a = args_of(env, info);
	struct poll *p = arg_handle(&a, 0);
	if (p) {
		uv_poll_stop(p->handle);
		uv_close(p->handle, on_closed);
	}
	return NULL;
}

void poll_exports(napi_env env, napi_value exports)
{
	export_function(env, exports, "pollStart", poll_start);
	export_function(env, exports, "pollSet", poll_set);
	export_function(env, exports, "pollStop", poll_stop);
}

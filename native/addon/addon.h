/* SPDX-License-Identifier: MIT */
/* What the addon's files share: argument access and the list of what each file exports. */
#ifndef LOCKSTEP_ADDON_H
#define LOCKSTEP_ADDON_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ARGS_MAX 10

/* The arguments of one call. Wrong types read as 0 or NULL: only the TypeScript port calls. */
struct args {
	napi_env env;
	size_t count;
	napi_value value[ARGS_MAX];
};

struct bytes {
	uint8_t *data;
	size_t length;
};

struct args args_of(napi_env env, napi_callback_info info);
int32_t arg_int(const struct args *a, size_t index);
uint32_t arg_uint(const struct args *a, size_t index);
int64_t arg_int64(const struct args *a, size_t index);
struct bytes arg_bytes(const struct args *a, size_t index);
/* What a handle stands for. */
void *arg_handle(const struct args *a, size_t index);
/* A name or path as a C string in a rotating static buffer; NULL when too long or with a NUL. */
const char *arg_name(const struct args *a, size_t index);

napi_value number(napi_env env, double value);
/* The result of a system call: itself when not negative, else -errno. */
napi_value result(napi_env env, int64_t value);
/* The result of a call whose name was none: -ENAMETOOLONG. */
napi_value bad_name(napi_env env);

#define FUNCTION(name) static napi_value name(napi_env env, napi_callback_info info)
#define NAME(index) const char *name = arg_name(&a, index); if (!name) return bad_name(env)

void export_function(napi_env env, napi_value exports, const char *name, napi_callback function);
void fs_exports(napi_env env, napi_value exports);
void fs_disk_exports(napi_env env, napi_value exports);
void attribute_exports(napi_env env, napi_value exports);
void poll_exports(napi_env env, napi_value exports);
void tls_exports(napi_env env, napi_value exports);
void capture_exports(napi_env env, napi_value exports);
void capture_hot_exports(napi_env env, napi_value exports);
void capture_begun_exports(napi_env env, napi_value exports);
void inotify_exports(napi_env env, napi_value exports);
void delta_exports(napi_env env, napi_value exports);
void mapped_file_exports(napi_env env, napi_value exports);
void lane_exports(napi_env env, napi_value exports);
void express_exports(napi_env env, napi_value exports);

/* statfs magics of filesystems that are treated in a way of their own. */
#define EXT_MAGIC 0xEF53
#define TMPFS_MAGIC 0x01021994
#define XFS_MAGIC 0x58465342
#define BTRFS_MAGIC 0x9123683E
#define F2FS_MAGIC 0xF2F52010

/* capture.c: this process has changed something that the kernel tells of. Keeps errno. */
void own_change(void);
/* fs.c: one stat as 16 doubles; see src/world/files.ts for the slots. */
#define STAT_SLOTS 16
int stat_into(int dirfd, const char *name, double *out);
/* The same of an open file, without generation (0) and attributes (-1). 0, or -1 with errno set. */
int stat_brief(int fd, double *out);
/* Inode numbers beyond 2^53 are folded, the same way everywhere, to fit a JavaScript number. */
double fold_inode(uint64_t ino);
/* attributes.c: a path below a descriptor, in a static buffer, for calls without an *at form. */
const char *proc_path(int dirfd, const char *name);
ssize_t list_attributes(int dirfd, const char *name, char *list, size_t size);
/* fs.c: inode and generation of a file handle; false when its type is not known. */
bool handle_identity(uint32_t fs_magic, int type, const uint8_t *handle, uint32_t bytes,
		     uint64_t *ino, uint32_t *gen);

/*
 * What the express lane (express.c) has the others do; each gets the data of a handle of its own.
 *
 * poll.c: `first` is tried before JavaScript is called for a descriptor that is readable; when it
 * returns true JavaScript is told so. NULL takes it back.
 */
void poll_try_first(void *poll, bool (*first)(void *data), void *data);
/* capture.c: whether a plain write to a file of the root's filesystem is all there is to tell. */
struct lone_write {
	double key;
	uint32_t gen;
	uint64_t position, length, time_ns;
};
bool capture_lone(void *capture, struct lone_write *out);
/* That write has been dealt with. */
void capture_pass_lone(void *capture);
/* tls.c: the handshake is done, and nothing waits to be sent. */
bool tls_is_clear(const void *tls);
/* As tlsWrite. */
int64_t tls_put(void *tls, const uint8_t *from, size_t length);
/* As tlsRead. */
int64_t tls_get(void *tls, uint8_t *into, size_t room);

#endif

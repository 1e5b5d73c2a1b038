/* SPDX-License-Identifier: MIT */
/*
 * The system calls that Node's fs module lacks, one thin function each: results are the kernel's,
 * errors are -errno. Names are bytes, never strings; a name is one component unless said otherwise.
 */
#include "addon.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

double fold_inode(uint64_t ino)
{
	if (ino >> 53) ino = (ino ^ (ino >> 53) * 0x9E3779B97F4A7C15ull) & ((1ull << 53) - 1);
	return (double)ino;
}

/* The result of a call that changes a name or an attribute. */
static napi_value changed(napi_env env, int64_t r)
{
	own_change();
	return result(env, r);
}

static uint32_t u32_at(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, 4);
	return v;
}

/* Layouts: fs/exportfs (FILEID_INO32_GEN), mm/shmem.c, fs/xfs/xfs_export.h, fs/btrfs/export.h. */
bool handle_identity(uint32_t magic, int type, const uint8_t *h, uint32_t bytes, uint64_t *ino,
		     uint32_t *gen)
{
	if (magic == TMPFS_MAGIC && bytes >= 12) {
		*gen = u32_at(h);
		*ino = u32_at(h + 4) | (uint64_t)u32_at(h + 8) << 32;
	} else if (magic == BTRFS_MAGIC && bytes >= 20) {
		memcpy(ino, h, 8);
		*gen = u32_at(h + 16);
	} else if (magic == XFS_MAGIC && (type & 0x80) && bytes >= 12) {
		memcpy(ino, h, 8);
		*gen = u32_at(h + 8);
	} else if ((type == 1 || type == 2) && bytes >= 8 &&
		   (magic == EXT_MAGIC || magic == XFS_MAGIC || magic == F2FS_MAGIC)) {
		*ino = u32_at(h);
		*gen = u32_at(h + 4);
	} else {
		return false;
	}
	return true;
}

struct handle {
	struct file_handle head;
	uint8_t bytes[MAX_HANDLE_SZ];
};

static uint32_t generation(int dirfd, const char *name, uint32_t magic)
{
	struct handle h;
	int mount_id;
	uint64_t ino;
	uint32_t gen = 0;
	h.head.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(dirfd, name, &h.head, &mount_id, *name ? 0 : AT_EMPTY_PATH)) return 0;
	handle_identity(magic, h.head.handle_type, h.head.f_handle, h.head.handle_bytes, &ino, &gen);
	return gen;
}

static uint32_t magic_of(int fd)
{
	struct statfs s;
	return fstatfs(fd, &s) ? 0 : (uint32_t)s.f_type;
}

/*
 * The magic of the filesystem that was asked about last, by mount. A mount keeps its number while
 * a descriptor of it is open, as that of a root is; when a root is opened it may be another's.
 */
static struct {
	uint64_t mount;
	uint32_t magic;
} last_mount;

static uint64_t mount_of(int fd)
{
	struct statx s;
	return syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &s) ? 0 : s.stx_mnt_id;
}

/* What is mounted at a name is not of its directory's filesystem. */
static uint32_t magic_at(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	uint32_t magic = fd < 0 ? 0 : magic_of(fd);
	if (fd >= 0) close(fd);
	return magic;
}

static uint32_t magic_on(int dirfd, const char *name, uint64_t mount)
{
	if (mount && mount == last_mount.mount) return last_mount.magic;
	if (mount_of(dirfd) != mount) return magic_at(dirfd, name);
	last_mount.mount = mount;
	last_mount.magic = magic_of(dirfd);
	return last_mount.magic;
}

static int fill(int dirfd, const char *name, double *out)
{
	struct statx s;
	int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);
	if (syscall(SYS_statx, dirfd, name, flags, STATX_BASIC_STATS | STATX_MNT_ID, &s)) return -1;
	out[0] = fold_inode(s.stx_ino);
	out[1] = 0;
	out[2] = s.stx_mode;
	out[3] = s.stx_nlink;
	out[4] = s.stx_uid;
	out[5] = s.stx_gid;
	out[6] = (double)(((uint64_t)s.stx_rdev_major << 20) | s.stx_rdev_minor);
	out[7] = (double)s.stx_size;
	out[8] = (double)s.stx_mtime.tv_sec;
	out[9] = s.stx_mtime.tv_nsec;
	out[10] = (double)s.stx_ctime.tv_sec;
	out[11] = s.stx_ctime.tv_nsec;
	out[12] = (double)s.stx_blocks;
	out[13] = (double)(((uint64_t)s.stx_dev_major << 20) | s.stx_dev_minor);
	out[14] = -1;
	out[15] = (double)s.stx_mnt_id;
	return 0;
}

int stat_brief(int fd, double *out)
{
	return fill(fd, "", out);
}

static int identify_into(int dirfd, const char *name, double *out)
{
	if (fill(dirfd, name, out)) return -1;
	out[1] = generation(dirfd, name, magic_on(dirfd, name, (uint64_t)out[15]));
	return 0;
}

int stat_into(int dirfd, const char *name, double *out)
{
	if (identify_into(dirfd, name, out)) return -1;
	ssize_t n = list_attributes(dirfd, name, NULL, 0);
	out[14] = n < 0 ? 0 : (double)n;
	return 0;
}

static napi_value stat_by(napi_env env, napi_callback_info info,
			  int (*into)(int dirfd, const char *name, double *out))
{
	struct args a = args_of(env, info);
	NAME(1);
	struct bytes out = arg_bytes(&a, 2);
	if (out.length < STAT_SLOTS * 8) return bad_name(env);
	return result(env, into(arg_int(&a, 0), name, (double *)out.data));
}

/* statAt(dirfd, name, Float64Array(16)): 0. With generation and size of the attribute list. */
FUNCTION(fn_stat_at)
{
	return stat_by(env, info, stat_into);
}

/* identifyAt(dirfd, name, Float64Array(16)): 0. As statAt, without attributes (-1). */
FUNCTION(fn_identify_at)
{
	return stat_by(env, info, identify_into);
}

/* fstat(fd, Float64Array(16)): 0. Without generation (0) and attributes (-1): the hot path. */
FUNCTION(fn_fstat)
{
	struct args a = args_of(env, info);
	struct bytes out = arg_bytes(&a, 1);
	if (out.length < STAT_SLOTS * 8) return bad_name(env);
	return result(env, stat_brief(arg_int(&a, 0), (double *)out.data));
}

/*
 * statfs(fd, Float64Array(8)): magic, block size, blocks, free, available, name length, and the
 * two words of the filesystem's id.
 */
FUNCTION(fn_statfs)
{
	struct args a = args_of(env, info);
	struct bytes out = arg_bytes(&a, 1);
	struct statfs s;
	if (out.length < 64) return bad_name(env);
	if (fstatfs(arg_int(&a, 0), &s)) return result(env, -1);
	double *d = (double *)out.data;
	d[0] = (double)(uint32_t)s.f_type;
	d[1] = (double)s.f_bsize;
	d[2] = (double)s.f_blocks;
	d[3] = (double)s.f_bfree;
	d[4] = (double)s.f_bavail;
	d[5] = (double)s.f_namelen;
	uint32_t id[2];
	_Static_assert(sizeof id == sizeof s.f_fsid, "an id of two words");
	memcpy(id, &s.f_fsid, sizeof id);
	d[6] = id[0];
	d[7] = id[1];
	return result(env, 0);
}

struct linux_dirent64 {
	uint64_t d_ino;
	int64_t d_off;
	uint16_t d_reclen;
	uint8_t d_type;
	char d_name[];
};

/*
 * scanDirectory(dirfd, buffer, brief): bytes written, 0 at the end. Each entry is 16 doubles (see
 * stat_into), u16 name length, the name, and padding to 8 bytes. An entry that vanished meanwhile
 * is left out. Reading goes on where the last call ended: the position is the descriptor's.
 * `brief`: as fstat, without generation and attributes.
 */
FUNCTION(fn_scan_directory)
{
	struct args a = args_of(env, info);
	int dirfd = arg_int(&a, 0);
	struct bytes out = arg_bytes(&a, 1);
	bool brief = arg_int(&a, 2);
	static char raw[32768] __attribute__((aligned(8)));
	size_t used = 0;
	uint32_t magic = magic_of(dirfd);
	double mount = (double)mount_of(dirfd);
	for (;;) {
		long n = syscall(SYS_getdents64, dirfd, raw, sizeof raw);
		if (n < 0) return result(env, -1);
		if (n == 0) return result(env, (int64_t)used);
		for (long at = 0; at < n;) {
			struct linux_dirent64 *d = (void *)(raw + at);
			size_t length = strlen(d->d_name);
			size_t need = (STAT_SLOTS * 8 + 2 + length + 7) & ~7ul;
			at += d->d_reclen;
			if (d->d_name[0] == '.' && (!d->d_name[1] || (d->d_name[1] == '.' && !d->d_name[2])))
				continue;
			double *s = (double *)(out.data + used);
			if (fill(dirfd, d->d_name, s)) {
				if (errno == ENOENT) continue;
				return result(env, -1);
			}
			if (!brief) {
				uint32_t own = s[15] == mount ? magic : magic_at(dirfd, d->d_name);
				s[1] = generation(dirfd, d->d_name, own);
				ssize_t attributes = list_attributes(dirfd, d->d_name, NULL, 0);
				s[14] = attributes < 0 ? 0 : (double)attributes;
			}
			uint16_t l = (uint16_t)length;
			memcpy(out.data + used + STAT_SLOTS * 8, &l, 2);
			memcpy(out.data + used + STAT_SLOTS * 8 + 2, d->d_name, length);
			used += need;
			/* The largest entry must fit; else come back from this very position. */
			if (out.length - used < STAT_SLOTS * 8 + 2 + 256 + 8) {
				if (at < n) lseek(dirfd, d->d_off, SEEK_SET);
				return result(env, (int64_t)used);
			}
		}
	}
}

/* openPath(path, flags): descriptor. For roots and state files only. */
FUNCTION(fn_open_path)
{
	struct args a = args_of(env, info);
	NAME(0);
	last_mount.mount = 0;
	return result(env, open(name, arg_int(&a, 1) | O_CLOEXEC, 0600));
}

/*
 * openBeneath(dirfd, path, flags, mode, crosses): descriptor. Never leaves dirfd, follows no link,
 * and crosses no mount unless it is told to.
 */
FUNCTION(fn_open_beneath)
{
	struct args a = args_of(env, info);
	NAME(1);
	struct open_how how = {
		.flags = (uint32_t)arg_int(&a, 2) | O_CLOEXEC,
		.mode = arg_uint(&a, 3),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	if (arg_int(&a, 4)) how.resolve &= ~(uint64_t)RESOLVE_NO_XDEV;
	int64_t fd;
	int tries = 0;
	/* EAGAIN: a rename ran at the same time; man 2 openat2 says to try again. */
	do fd = syscall(SYS_openat2, arg_int(&a, 0), *name ? name : ".", &how, sizeof how);
	while (fd < 0 && errno == EAGAIN && ++tries < 64);
	return result(env, fd);
}

FUNCTION(fn_close)
{
	struct args a = args_of(env, info);
	return result(env, close(arg_int(&a, 0)));
}

/* read/write(fd, bytes, offset in bytes, length, position): count; whole unless end or error. */
FUNCTION(fn_pread)
{
	struct args a = args_of(env, info);
	struct bytes b = arg_bytes(&a, 1);
	size_t offset = (size_t)arg_int64(&a, 2), length = (size_t)arg_int64(&a, 3), done = 0;
	int64_t position = arg_int64(&a, 4);
	int fd = arg_int(&a, 0);
	if (offset + length > b.length) return bad_name(env);
	while (done < length) {
		ssize_t n = pread(fd, b.data + offset + done, length - done, position + (int64_t)done);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return result(env, -1);
		if (n == 0) break;
		done += (size_t)n;
	}
	return result(env, (int64_t)done);
}

FUNCTION(fn_pwrite)
{
	struct args a = args_of(env, info);
	struct bytes b = arg_bytes(&a, 1);
	size_t offset = (size_t)arg_int64(&a, 2), length = (size_t)arg_int64(&a, 3), done = 0;
	int64_t position = arg_int64(&a, 4);
	int fd = arg_int(&a, 0);
	if (offset + length > b.length) return bad_name(env);
	while (done < length) {
		ssize_t n = pwrite(fd, b.data + offset + done, length - done, position + (int64_t)done);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return result(env, -1);
		done += (size_t)n;
	}
	return result(env, (int64_t)done);
}

/* dataExtents(fd, from, to, Float64Array): pairs [start, end) of data, as many as fit; their count.
 *  */
FUNCTION(fn_data_extents)
{
	struct args a = args_of(env, info);
	int fd = arg_int(&a, 0);
	int64_t at = arg_int64(&a, 1), to = arg_int64(&a, 2);
	struct bytes out = arg_bytes(&a, 3);
	double *d = (double *)out.data;
	size_t pairs = 0, room = out.length / 16;
	while (at < to && pairs < room) {
		int64_t start = lseek(fd, at, SEEK_DATA);
		if (start < 0 && errno == ENXIO) break;
		if (start < 0) return result(env, -1);
		if (start >= to) break;
		int64_t end = lseek(fd, start, SEEK_HOLE);
		if (end < 0) return result(env, -1);
		d[2 * pairs] = (double)start;
		d[2 * pairs + 1] = (double)(end < to ? end : to);
		pairs++;
		at = end;
	}
	return result(env, (int64_t)pairs);
}

FUNCTION(fn_ftruncate)
{
	struct args a = args_of(env, info);
	return result(env, ftruncate(arg_int(&a, 0), arg_int64(&a, 1)));
}

FUNCTION(fn_fallocate)
{
	struct args a = args_of(env, info);
	int mode = arg_int(&a, 1);
	return result(env, fallocate(arg_int(&a, 0), mode, arg_int64(&a, 2), arg_int64(&a, 3)));
}

/*
 * cloneRange(toFd, fromFd, fromOffset, length, toOffset): reflink; copied where that is refused.
 * ENODATA when the file ends before that many bytes.
 */
FUNCTION(fn_clone_range)
{
	struct args a = args_of(env, info);
	struct file_clone_range range = {
		.src_fd = arg_int(&a, 1),
		.src_offset = (uint64_t)arg_int64(&a, 2),
		.src_length = (uint64_t)arg_int64(&a, 3),
		.dest_offset = (uint64_t)arg_int64(&a, 4),
	};
	if (!ioctl(arg_int(&a, 0), FICLONERANGE, &range)) return result(env, 0);
	loff_t from = arg_int64(&a, 2), to = arg_int64(&a, 4);
	uint64_t left = range.src_length;
	while (left) {
		ssize_t n = copy_file_range(arg_int(&a, 1), &from, arg_int(&a, 0), &to, left, 0);
		if (n < 0 && errno == EINTR) continue;
		if (n == 0) errno = ENODATA;
		if (n <= 0) return result(env, -1);
		left -= (uint64_t)n;
	}
	return result(env, 0);
}

static void times_of(const struct args *a, size_t first, struct timespec out[2])
{
	out[0].tv_sec = 0;
	out[0].tv_nsec = UTIME_OMIT;
	out[1].tv_sec = arg_int64(a, first);
	out[1].tv_nsec = arg_int64(a, first + 1);
}

/* setTimes(dirfd, name, seconds, nanoseconds): modification time; empty name is the descriptor. */
FUNCTION(fn_set_times)
{
	struct args a = args_of(env, info);
	NAME(1);
	struct timespec t[2];
	times_of(&a, 2, t);
	if (!*name) return changed(env, futimens(arg_int(&a, 0), t));
	return changed(env, utimensat(arg_int(&a, 0), name, t, AT_SYMLINK_NOFOLLOW));
}

FUNCTION(fn_chown)
{
	struct args a = args_of(env, info);
	NAME(1);
	int flags = AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH);
	return changed(env, fchownat(arg_int(&a, 0), name, arg_uint(&a, 2), arg_uint(&a, 3), flags));
}

/* chmod(fd, mode): the descriptor's file. Symbolic links have no mode of their own. */
FUNCTION(fn_chmod)
{
	struct args a = args_of(env, info);
	return changed(env, fchmod(arg_int(&a, 0), arg_uint(&a, 1)));
}

/* chmodAt(dirfd, name, mode): for nodes that must not be opened (devices, sockets, pipes). */
FUNCTION(fn_chmod_at)
{
	struct args a = args_of(env, info);
	NAME(1);
	int fd = openat(arg_int(&a, 0), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) return changed(env, -1);
	int r = chmod(proc_path(fd, ""), arg_uint(&a, 2));
	int saved = errno;
	close(fd);
	errno = saved;
	return changed(env, r);
}

FUNCTION(fn_mkdir)
{
	struct args a = args_of(env, info);
	NAME(1);
	return changed(env, mkdirat(arg_int(&a, 0), name, arg_uint(&a, 2)));
}

FUNCTION(fn_mknod)
{
	struct args a = args_of(env, info);
	NAME(1);
	uint64_t device = (uint64_t)arg_int64(&a, 3);
	dev_t dev = makedev((unsigned)(device >> 20), (unsigned)(device & 0xfffff));
	return changed(env, mknodat(arg_int(&a, 0), name, arg_uint(&a, 2), dev));
}

FUNCTION(fn_symlink)
{
	struct args a = args_of(env, info);
	const char *target = arg_name(&a, 2);
	NAME(1);
	if (!target) return bad_name(env);
	return changed(env, symlinkat(target, arg_int(&a, 0), name));
}

/* link(fromDirfd, fromName, toDirfd, toName): an empty fromName links the descriptor's own file. */
FUNCTION(fn_link)
{
	struct args a = args_of(env, info);
	const char *to = arg_name(&a, 3);
	NAME(1);
	if (!to) return bad_name(env);
	if (*name) return changed(env, linkat(arg_int(&a, 0), name, arg_int(&a, 2), to, 0));
	/* Refused with ENOENT to whom the kernel wants a capability from; /proc needs none. */
	int64_t r = linkat(arg_int(&a, 0), "", arg_int(&a, 2), to, AT_EMPTY_PATH);
	if (!r || errno != ENOENT) return changed(env, r);
	return changed(env, linkat(AT_FDCWD, proc_path(arg_int(&a, 0), ""), arg_int(&a, 2), to,
				  AT_SYMLINK_FOLLOW));
}

FUNCTION(fn_unlink)
{
	struct args a = args_of(env, info);
	NAME(1);
	return changed(env, unlinkat(arg_int(&a, 0), name, arg_int(&a, 2) ? AT_REMOVEDIR : 0));
}

/* rename(fromDirfd, fromName, toDirfd, toName, flags of renameat2). */
FUNCTION(fn_rename)
{
	struct args a = args_of(env, info);
	const char *to = arg_name(&a, 3);
	NAME(1);
	if (!to) return bad_name(env);
	int from_dir = arg_int(&a, 0), to_dir = arg_int(&a, 2);
	return changed(env, syscall(SYS_renameat2, from_dir, name, to_dir, to, arg_uint(&a, 4)));
}

/* readlink(dirfd, name, buffer): bytes. */
FUNCTION(fn_readlink)
{
	struct args a = args_of(env, info);
	NAME(1);
	struct bytes out = arg_bytes(&a, 2);
	return result(env, readlinkat(arg_int(&a, 0), name, (char *)out.data, out.length));
}

/* lockFile(fd): exclusive flock without waiting. */
FUNCTION(fn_lock_file)
{
	struct args a = args_of(env, info);
	return result(env, flock(arg_int(&a, 0), LOCK_EX | LOCK_NB));
}

FUNCTION(fn_umask)
{
	struct args a = args_of(env, info);
	return result(env, (int64_t)umask(arg_uint(&a, 0)));
}

void fs_exports(napi_env env, napi_value exports)
{
	static const struct { const char *name; napi_callback function; } functions[] = {
		{ "statAt", fn_stat_at }, { "identifyAt", fn_identify_at },
		{ "fstat", fn_fstat }, { "statfs", fn_statfs },
		{ "scanDirectory", fn_scan_directory }, { "openPath", fn_open_path },
		{ "openBeneath", fn_open_beneath }, { "close", fn_close }, { "pread", fn_pread },
		{ "pwrite", fn_pwrite }, { "dataExtents", fn_data_extents }, { "ftruncate", fn_ftruncate },
		{ "fallocate", fn_fallocate }, { "cloneRange", fn_clone_range },
		{ "setTimes", fn_set_times }, { "chown", fn_chown }, { "chmod", fn_chmod },
		{ "chmodAt", fn_chmod_at }, { "mkdir", fn_mkdir }, { "mknod", fn_mknod },
		{ "symlink", fn_symlink }, { "link", fn_link }, { "unlink", fn_unlink },
		{ "rename", fn_rename }, { "readlink", fn_readlink },
		{ "lockFile", fn_lock_file }, { "umask", fn_umask },
	};
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
		export_function(env, exports, functions[i].name, functions[i].function);
}

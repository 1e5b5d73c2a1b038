/* SPDX-License-Identifier: MIT */
/*
 * changes NAME PATH [ARGUMENT...]: makes one change of a file or folder, in one exact way.
 *
 * Capture must see every way in which a program can change bytes, names or metadata; each is one
 * row of the tables here, named after its system call, and test/contract/capture.test.ts runs them.
 * A process of its own, because a backend leaves out the changes of its own process.
 * Exit code: 0 done, 77 not offered by this kernel or filesystem, 1 failed. Changes that prepare
 * something first say "ready" on stdout and wait for a byte on stdin.
 */
#include "changes.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif

void check(int succeeded, const char *what)
{
	if (succeeded) return;
	int unsupported = errno == EOPNOTSUPP || errno == ENOSYS || errno == EXDEV;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(unsupported ? 77 : 1);
}

static void refuse(const char *why)
{
	fprintf(stderr, "%s\n", why);
	exit(77);
}

int open_file(const char *path, int flags)
{
	int fd = open(path, flags, 0644);
	check(fd >= 0, path);
	return fd;
}

char *new_content(size_t bytes)
{
	char *p = NULL;
	check(!posix_memalign((void **)&p, BLOCK, bytes), "memory");
	/* Prepared files hold bytes below 128. */
	for (size_t i = 0; i < bytes; i++) p[i] = (char)(128 + i % 100);
	return p;
}

void wait_for_test(void)
{
	char byte;
	printf("ready\n");
	fflush(stdout);
	check(read(0, &byte, 1) == 1, "stdin");
}

static void wrote(ssize_t count, size_t wanted, const char *what)
{
	if (count >= 0) errno = EIO;
	check(count == (ssize_t)wanted, what);
}

/* --- positions -------------------------------------------------------------------------------- */

static void run_write(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	lseek(fd, POSITION, SEEK_SET);
	wrote(write(fd, new_content(LENGTH), LENGTH), LENGTH, "write");
}

static void run_write_beyond_end(char **a)
{
	int fd = open_file(a[0], O_WRONLY);
	off_t end = lseek(fd, 100000, SEEK_END);
	check(end > 0, "lseek");
	wrote(write(fd, new_content(LENGTH), LENGTH), LENGTH, "write");
}

static void run_writev(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	struct iovec v[2] = { { new_content(1000), 1000 }, { new_content(LENGTH), LENGTH } };
	lseek(fd, POSITION, SEEK_SET);
	wrote(writev(fd, v, 2), LENGTH + 1000, "writev");
}

static void run_pwrite(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	wrote(pwrite(fd, new_content(LENGTH), LENGTH, POSITION), LENGTH, "pwrite");
}

static void run_pwritev(char **a)
{
	struct iovec v[2] = { { new_content(1000), 1000 }, { new_content(LENGTH), LENGTH } };
	wrote(pwritev(open_file(a[0], O_RDWR), v, 2, POSITION), LENGTH + 1000, "pwritev");
}

static void run_pwritev2(char **a)
{
	struct iovec v = { new_content(LENGTH), LENGTH };
	wrote(pwritev2(open_file(a[0], O_RDWR), &v, 1, POSITION, 0), LENGTH, "pwritev2");
}

static void run_pwritev2_append(char **a)
{
	struct iovec v = { new_content(LENGTH), LENGTH };
	wrote(pwritev2(open_file(a[0], O_RDWR), &v, 1, 0, RWF_APPEND), LENGTH, "pwritev2 RWF_APPEND");
}

static void run_pwritev2_current(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	struct iovec v = { new_content(LENGTH), LENGTH };
	lseek(fd, POSITION, SEEK_SET);
	wrote(pwritev2(fd, &v, 1, -1, 0), LENGTH, "pwritev2 -1");
}

static void run_pwritev2_append_current(char **a)
{
	struct iovec v = { new_content(LENGTH), LENGTH };
	wrote(pwritev2(open_file(a[0], O_RDWR), &v, 1, -1, RWF_APPEND), LENGTH, "pwritev2 -1 append");
}

/* Inside an append-only descriptor, at a position of its own. */
static void run_pwritev2_noappend(char **a)
{
	struct iovec v = { new_content(LENGTH), LENGTH };
	int fd = open_file(a[0], O_RDWR | O_APPEND);
	wrote(pwritev2(fd, &v, 1, POSITION, RWF_NOAPPEND), LENGTH, "pwritev2 RWF_NOAPPEND");
}

static void run_append_write(char **a)
{
	int fd = open_file(a[0], O_WRONLY | O_APPEND);
	wrote(write(fd, new_content(LENGTH), LENGTH), LENGTH, "write");
}

/* Linux appends, whatever the position says: man 2 pwrite, BUGS. */
static void run_append_pwrite(char **a)
{
	int fd = open_file(a[0], O_WRONLY | O_APPEND);
	wrote(pwrite(fd, new_content(LENGTH), LENGTH, POSITION), LENGTH, "pwrite");
}

static void run_direct_write(char **a)
{
	int fd = open_file(a[0], O_RDWR | O_DIRECT);
	wrote(pwrite(fd, new_content(2 * BLOCK), 2 * BLOCK, BLOCK), 2 * BLOCK, "direct pwrite");
}

/* --- from elsewhere --------------------------------------------------------------------------- */

static int other_file(void)
{
	int fd = memfd_create("other", 0);
	check(fd >= 0, "memfd_create");
	wrote(write(fd, new_content(65536), 65536), 65536, "write");
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void run_sendfile(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	lseek(fd, POSITION, SEEK_SET);
	wrote(sendfile(fd, other_file(), NULL, LENGTH), LENGTH, "sendfile");
}

static int filled_pipe(void)
{
	int ends[2];
	check(!pipe(ends), "pipe");
	wrote(write(ends[1], new_content(LENGTH), LENGTH), LENGTH, "write");
	return ends[0];
}

static void run_splice(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	lseek(fd, POSITION, SEEK_SET);
	wrote(splice(filled_pipe(), NULL, fd, NULL, LENGTH, 0), LENGTH, "splice");
}

static void run_splice_offset(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	loff_t at = POSITION;
	wrote(splice(filled_pipe(), NULL, fd, &at, LENGTH, 0), LENGTH, "splice");
}

static void run_copy_file_range(char **a)
{
	int to = open_file(a[0], O_RDWR), from = open_file(a[1], O_RDONLY);
	loff_t at = POSITION;
	lseek(from, 7, SEEK_SET);
	wrote(copy_file_range(from, NULL, to, &at, LENGTH, 0), LENGTH, "copy_file_range");
}

static void run_copy_file_range_current(char **a)
{
	int to = open_file(a[0], O_RDWR), from = open_file(a[1], O_RDONLY);
	lseek(to, POSITION, SEEK_SET);
	lseek(from, 7, SEEK_SET);
	wrote(copy_file_range(from, NULL, to, NULL, LENGTH, 0), LENGTH, "copy_file_range");
}

static void run_clone(char **a)
{
	int to = open_file(a[0], O_RDWR), from = open_file(a[1], O_RDONLY);
	check(!ioctl(to, FICLONE, from), "FICLONE");
}

static void clone_range(char **a, unsigned long long length)
{
	int to = open_file(a[0], O_RDWR), from = open_file(a[1], O_RDONLY);
	struct file_clone_range r = { from, BLOCK, length, 2 * BLOCK };
	check(!ioctl(to, FICLONERANGE, &r), "FICLONERANGE");
}

static void run_clone_range(char **a)
{
	clone_range(a, BLOCK);
}

static void run_clone_to_end(char **a)
{
	clone_range(a, 0);
}

/* --- sizes and holes -------------------------------------------------------------------------- */

static void run_truncate(char **a)
{
	check(!truncate(a[0], POSITION), "truncate");
}

/* By a relative path; stays alive until told, so that its folder can be looked up. */
static void run_truncate_relative(char **a)
{
	check(!chdir(a[0]), "chdir");
	check(!truncate(a[1], POSITION), "truncate");
	wait_for_test();
}

static void run_truncate_and_wait(char **a)
{
	check(!truncate(a[0], POSITION), "truncate");
	wait_for_test();
}

static void run_truncate_grow(char **a)
{
	check(!truncate(a[0], 1 << 20), "truncate");
	wait_for_test();
}

static void run_ftruncate(char **a)
{
	check(!ftruncate(open_file(a[0], O_RDWR), POSITION), "ftruncate");
}

static void run_ftruncate_grow(char **a)
{
	check(!ftruncate(open_file(a[0], O_RDWR), 1 << 20), "ftruncate");
}

static void allocate(char **a, int mode, off_t at, off_t length)
{
	check(!fallocate(open_file(a[0], O_RDWR), mode, at, length), "fallocate");
}

static void run_fallocate(char **a)
{
	allocate(a, 0, 60000, 100000);
}

static void run_fallocate_keep_size(char **a)
{
	allocate(a, FALLOC_FL_KEEP_SIZE, 60000, 100000);
}

static void run_fallocate_punch(char **a)
{
	allocate(a, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, POSITION, 20000);
}

static void run_fallocate_zero(char **a)
{
	allocate(a, FALLOC_FL_ZERO_RANGE, POSITION, 20000);
}

static void run_fallocate_zero_keep_size(char **a)
{
	allocate(a, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, POSITION, 20000);
}

static void run_fallocate_collapse(char **a)
{
	allocate(a, FALLOC_FL_COLLAPSE_RANGE, 2 * BLOCK, BLOCK);
}

static void run_fallocate_insert(char **a)
{
	allocate(a, FALLOC_FL_INSERT_RANGE, 2 * BLOCK, BLOCK);
}

/* The older form of fallocate: any filesystem's ioctl ends in vfs_fallocate. */
static void reserve(char **a, unsigned long command)
{
	struct {
		int16_t type, whence;
		int64_t start, length;
		int32_t sysid;
		uint32_t pid;
		int32_t pad[4];
	} space = { .start = POSITION, .length = 20000 };
	check(!ioctl(open_file(a[0], O_RDWR), command, &space), "ioctl");
}

static void run_ioctl_zero(char **a)
{
	reserve(a, 0x40305839); /* FS_IOC_ZERO_RANGE */
}

static void run_ioctl_unreserve(char **a)
{
	reserve(a, 0x4030582b); /* FS_IOC_UNRESVSP64 */
}

static void run_open_truncate(char **a)
{
	check(syscall(SYS_openat, AT_FDCWD, a[0], O_WRONLY | O_TRUNC) >= 0, "openat");
}

/* Linux truncates although it opens for reading. */
static void run_open_truncate_readonly(char **a)
{
	check(syscall(SYS_openat, AT_FDCWD, a[0], O_RDONLY | O_TRUNC) >= 0, "openat");
}

static void run_open_plain(char **a)
{
#ifdef SYS_open
	check(syscall(SYS_open, a[0], O_WRONLY | O_TRUNC) >= 0, "open");
#else
	(void)a;
	refuse("this architecture has no open");
#endif
}

static void run_creat(char **a)
{
#ifdef SYS_creat
	check(syscall(SYS_creat, a[0], 0644) >= 0, "creat");
#else
	(void)a;
	refuse("this architecture has no creat");
#endif
}

static void run_openat2(char **a)
{
	struct open_how how = { .flags = O_WRONLY | O_TRUNC };
	check(syscall(SYS_openat2, AT_FDCWD, a[0], &how, sizeof how) >= 0, "openat2");
}

/* --- handles and older worlds ----------------------------------------------------------------- */

static int open_by_handle(char **a, int flags)
{
	struct {
		struct file_handle head;
		unsigned char bytes[MAX_HANDLE_SZ];
	} h = { .head.handle_bytes = MAX_HANDLE_SZ };
	int mount_id, root = open_file(a[1], O_RDONLY | O_DIRECTORY);
	check(!name_to_handle_at(AT_FDCWD, a[0], &h.head, &mount_id, 0), "name_to_handle_at");
	int drop = open("/proc/sys/vm/drop_caches", O_WRONLY);
	/* The file's names must have left memory, so that the handle opens without one. */
	if (drop < 0 || write(drop, "2", 1) != 1) refuse("the name cache cannot be dropped");
	close(drop);
	int fd = open_by_handle_at(root, &h.head, flags);
	if (fd < 0 && errno == EPERM) refuse("open_by_handle_at is not permitted");
	check(fd >= 0, "open_by_handle_at");
	return fd;
}

static void run_handle_write(char **a)
{
	int fd = open_by_handle(a, O_RDWR);
	wrote(pwrite(fd, new_content(LENGTH), LENGTH, POSITION), LENGTH, "pwrite");
}

static void run_handle_truncate(char **a)
{
	open_by_handle(a, O_RDWR | O_TRUNC);
}

#if defined(__x86_64__)
static long call32(long number, long x, long y, long z, long s)
{
	long out, high = 0; /* the upper half of a 64-bit position */
	__asm__ volatile("int $0x80"
			 : "=a"(out)
			 : "a"(number), "b"(x), "c"(y), "d"(z), "S"(s), "D"(high)
			 : "memory", "r8", "r9", "r10", "r11");
	return out;
}

static char *low_content(void)
{
	char *low = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
			 -1, 0);
	check(low != MAP_FAILED, "mmap");
	memcpy(low, new_content(65536), 65536);
	return low;
}

static void done32(long got, long wanted)
{
	if (got == -ENOSYS) refuse("this kernel runs no 32-bit programs");
	errno = got < 0 ? (int)-got : EIO;
	check(got == wanted, "int 0x80");
}

static void run_write32(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	lseek(fd, POSITION, SEEK_SET);
	done32(call32(4, fd, (long)low_content(), LENGTH, 0), LENGTH);
}

static void run_pwrite32(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	done32(call32(181, fd, (long)low_content(), LENGTH, POSITION), LENGTH);
}

/* Makes the page dirty first, so that only the call itself can tell. */
static void run_write32_dirty(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	wrote(pwrite(fd, "x", 1, POSITION + 1), 1, "pwrite");
	wait_for_test();
	done32(call32(181, fd, (long)low_content(), LENGTH, POSITION), LENGTH);
}

static void run_ftruncate32(char **a)
{
	done32(call32(93, open_file(a[0], O_RDWR), POSITION, 0, 0), 0);
}
#else
static void run_write32(char **a)
{
	(void)a;
	refuse("only x86-64 has int 0x80");
}
#define run_pwrite32 run_write32
#define run_write32_dirty run_write32
#define run_ftruncate32 run_write32
#endif

/* --- shared mappings -------------------------------------------------------------------------- */

static char *map_file(int fd, size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(p != MAP_FAILED, "mmap");
	return p;
}

/* The mapping is made, and its pages are clean, before the test goes on. */
static void run_store(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	fsync(fd);
	char *p = map_file(fd, 65536);
	wait_for_test();
	memcpy(p + POSITION, new_content(LENGTH), LENGTH);
	wait_for_test();
}

static void run_store_dirty(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	wait_for_test();
	wrote(pwrite(fd, "x", 1, POSITION + 1), 1, "pwrite");
	char *p = map_file(fd, 65536);
	memcpy(p + POSITION, new_content(LENGTH), LENGTH);
	wait_for_test();
}

/* A file of many pages, one byte in every 64th page. */
static void run_store_large(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	size_t size = 64u << 20;
	fsync(fd);
	char *p = map_file(fd, size);
	wait_for_test();
	for (size_t at = 0; at < size; at += 64 * BLOCK) p[at] = (char)200;
	wait_for_test();
}

static void run_store_by_read(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	fsync(fd);
	char *p = map_file(fd, 65536);
	wait_for_test();
	wrote(read(other_file(), p + POSITION, LENGTH), LENGTH, "read");
	wait_for_test();
}

/* A call that the capture program knows, but which here stores into the mapping: its result. */
static void run_store_by_ioctl(char **a)
{
	int fd = open_file(a[0], O_RDWR), ends[2];
	fsync(fd);
	char *p = map_file(fd, 65536);
	check(!pipe(ends) && write(ends[1], "12345", 5) == 5, "pipe");
	wait_for_test();
	check(!ioctl(ends[0], FIONREAD, p + 8192), "FIONREAD");
	wait_for_test();
}

static void run_store_by_other_process(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	fsync(fd);
	char *p = map_file(fd, 65536);
	wait_for_test();
	pid_t child = fork();
	if (!child) {
		struct iovec local = { new_content(LENGTH), LENGTH }, remote = { p + POSITION, LENGTH };
		_exit(process_vm_writev(getppid(), &local, 1, &remote, 1, 0) == LENGTH ? 0 : 1);
	}
	int status = 1;
	waitpid(child, &status, 0);
	if (status) refuse("process_vm_writev is not permitted");
	wait_for_test();
}

static void run_madvise_remove(char **a)
{
	int fd = open_file(a[0], O_RDWR);
	char *p = map_file(fd, 65536);
	wait_for_test();
	check(!madvise(p + 2 * BLOCK, 4 * BLOCK, MADV_REMOVE), "MADV_REMOVE");
	wait_for_test();
}

/* --- one position for several writers --------------------------------------------------------- */

static int shared_fd;

static void write_often(char mark)
{
	char text[32];
	memset(text, mark, sizeof text);
	for (int i = 0; i < 500; i++) wrote(write(shared_fd, text, sizeof text), sizeof text, "write");
}

static void *write_often_b(void *unused)
{
	write_often((char)180);
	return unused;
}

static void run_threads(char **a)
{
	pthread_t thread;
	shared_fd = open_file(a[0], O_RDWR);
	check(!pthread_create(&thread, NULL, write_often_b, NULL), "thread");
	write_often((char)181);
	pthread_join(thread, NULL);
}

static void run_forked(char **a)
{
	shared_fd = open_file(a[0], O_RDWR);
	pid_t child = fork();
	write_often(child ? (char)181 : (char)180);
	if (!child) _exit(0);
	int status;
	waitpid(child, &status, 0);
	check(status == 0, "child");
}

/* Many small writes: argument 1 says how many files, 2 how many writes each. */
static void run_burst(char **a)
{
	int count = atoi(a[2]);
	char path[4096];
	for (int f = 0; f < atoi(a[1]); f++) {
		snprintf(path, sizeof path, "%s/burst-%d", a[0], f);
		int fd = open_file(path, O_RDWR | O_CREAT);
		/* Gaps, so that neighbours do not merge. */
		for (int i = 0; i < count; i++) wrote(pwrite(fd, "y", 1, i * 2), 1, "pwrite");
		close(fd);
	}
}

static void run_create_many(char **a)
{
	char path[4096];
	for (int i = 0; i < atoi(a[1]); i++) {
		snprintf(path, sizeof path, "%s/many-%06d", a[0], i);
		int fd = open(path, O_WRONLY | O_CREAT, 0644);
		check(fd >= 0, path);
		close(fd);
	}
}

/* --- names ------------------------------------------------------------------------------------ */

static void run_create(char **a)
{
	open_file(a[0], O_WRONLY | O_CREAT | O_EXCL);
}

static void run_mkdir(char **a)
{
	check(!mkdir(a[0], 0755), "mkdir");
}

static void run_mkfifo(char **a)
{
	check(!mknod(a[0], S_IFIFO | 0600, 0), "mknod");
}

static void run_symlink(char **a)
{
	check(!symlink("where/ever", a[0]), "symlink");
}

static void run_link(char **a)
{
	check(!link(a[0], a[1]), "link");
}

static void run_unlink(char **a)
{
	check(!unlink(a[0]), "unlink");
}

static void run_rmdir(char **a)
{
	check(!rmdir(a[0]), "rmdir");
}

static void run_rename(char **a)
{
	check(!rename(a[0], a[1]), "rename");
}

static void run_exchange(char **a)
{
	check(!renameat2(AT_FDCWD, a[0], AT_FDCWD, a[1], RENAME_EXCHANGE), "RENAME_EXCHANGE");
}

/* An unnamed file of folder 0, written, named as 1, and written again by its old descriptor. */
static void run_unnamed_then_write(char **a)
{
	char path[64];
	int fd = open(a[0], O_TMPFILE | O_RDWR, 0644);
	check(fd >= 0, "O_TMPFILE");
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	wrote(write(fd, new_content(65536), 65536), 65536, "write");
	check(!linkat(AT_FDCWD, path, AT_FDCWD, a[1], AT_SYMLINK_FOLLOW), "linkat");
	wait_for_test();
	wrote(pwrite(fd, "later", 5, POSITION), 5, "pwrite");
	wait_for_test();
}

/* Written through a name outside that is gone, while a name inside is left. */
static void run_moved_link_then_write(char **a)
{
	int fd = open_file(a[0], O_RDWR | O_CREAT);
	wrote(write(fd, new_content(65536), 65536), 65536, "write");
	check(!link(a[0], a[1]), "link");
	check(!unlink(a[0]), "unlink");
	wait_for_test();
	wrote(pwrite(fd, "later", 5, POSITION), 5, "pwrite");
	wait_for_test();
}

/* --- metadata --------------------------------------------------------------------------------- */

static void run_chmod(char **a)
{
	check(!chmod(a[0], 0751), "chmod");
}

static void run_chown(char **a)
{
	check(!chown(a[0], 1234, 4321), "chown");
}

static void run_lchown(char **a)
{
	check(!lchown(a[0], 1234, 4321), "lchown");
}

#define BOTH { { 1000000000, 5 }, { 1000000001, 123456789 } }
#define MODIFIED { { 0, UTIME_OMIT }, { 1000000001, 123456789 } }

static void run_times(char **a)
{
	struct timespec t[2] = BOTH;
	check(!utimensat(AT_FDCWD, a[0], t, 0), "utimensat");
}

static void run_times_modified(char **a)
{
	struct timespec t[2] = MODIFIED;
	check(!utimensat(AT_FDCWD, a[0], t, 0), "utimensat");
	wait_for_test();
}

static void run_times_modified_by_descriptor(char **a)
{
	struct timespec t[2] = MODIFIED;
	check(!futimens(open_file(a[0], O_RDONLY), t), "futimens");
}

static void run_times_modified_by_empty_path(char **a)
{
	struct timespec t[2] = MODIFIED;
	int fd = open_file(a[0], O_PATH);
	check(!syscall(SYS_utimensat, fd, "", t, AT_EMPTY_PATH), "utimensat AT_EMPTY_PATH");
}

static void run_setxattr(char **a)
{
	check(!setxattr(a[0], "user.lockstep", "value", 5, 0), "setxattr");
}

static void run_removexattr(char **a)
{
	check(!removexattr(a[0], "user.lockstep"), "removexattr");
}

/* --- other views of the filesystem ------------------------------------------------------------ */

static void private_mounts(void)
{
	if (unshare(CLONE_NEWNS)) refuse("no mount namespace may be made");
	check(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount");
}

/* Folder 0 mounted at 1, in a namespace of its own; file 2 is written there. */
static void run_bind_write(char **a)
{
	char path[4096];
	private_mounts();
	check(!mount(a[0], a[1], NULL, MS_BIND, NULL), "mount");
	snprintf(path, sizeof path, "%s/%s", a[1], a[2]);
	run_write((char *[]){ path });
	snprintf(path, sizeof path, "%s/born-in-namespace", a[1]);
	open_file(path, O_WRONLY | O_CREAT);
}

static void run_bind_truncate(char **a)
{
	char path[4096];
	private_mounts();
	check(!mount(a[0], a[1], NULL, MS_BIND, NULL), "mount");
	snprintf(path, sizeof path, "%s/%s", a[1], a[2]);
	run_truncate_and_wait((char *[]){ path });
}

static void enter_root(const char *root)
{
	if (chroot(root)) refuse("chroot is not permitted");
	check(!chdir("/"), "chdir");
}

static void run_chroot_write(char **a)
{
	enter_root(a[0]);
	run_write(a + 1);
}

static void run_chroot_truncate(char **a)
{
	enter_root(a[0]);
	run_truncate_and_wait(a + 1);
}

/* --- the table -------------------------------------------------------------------------------- */

static const struct change changes[] = {
	{ "write", run_write },
	{ "write-beyond-end", run_write_beyond_end },
	{ "writev", run_writev },
	{ "pwrite", run_pwrite },
	{ "pwritev", run_pwritev },
	{ "pwritev2", run_pwritev2 },
	{ "pwritev2-append", run_pwritev2_append },
	{ "pwritev2-current", run_pwritev2_current },
	{ "pwritev2-append-current", run_pwritev2_append_current },
	{ "pwritev2-noappend", run_pwritev2_noappend },
	{ "append-write", run_append_write },
	{ "append-pwrite", run_append_pwrite },
	{ "direct-write", run_direct_write },
	{ "sendfile", run_sendfile },
	{ "splice", run_splice },
	{ "splice-offset", run_splice_offset },
	{ "copy-file-range", run_copy_file_range },
	{ "copy-file-range-current", run_copy_file_range_current },
	{ "clone", run_clone },
	{ "clone-range", run_clone_range },
	{ "clone-to-end", run_clone_to_end },
	{ "truncate", run_truncate },
	{ "truncate-and-wait", run_truncate_and_wait },
	{ "truncate-relative", run_truncate_relative },
	{ "truncate-grow", run_truncate_grow },
	{ "ftruncate", run_ftruncate },
	{ "ftruncate-grow", run_ftruncate_grow },
	{ "fallocate", run_fallocate },
	{ "fallocate-keep-size", run_fallocate_keep_size },
	{ "fallocate-punch", run_fallocate_punch },
	{ "fallocate-zero", run_fallocate_zero },
	{ "fallocate-zero-keep-size", run_fallocate_zero_keep_size },
	{ "fallocate-collapse", run_fallocate_collapse },
	{ "fallocate-insert", run_fallocate_insert },
	{ "ioctl-zero", run_ioctl_zero },
	{ "ioctl-unreserve", run_ioctl_unreserve },
	{ "open-truncate", run_open_truncate },
	{ "open-truncate-readonly", run_open_truncate_readonly },
	{ "open-plain", run_open_plain },
	{ "creat", run_creat },
	{ "openat2", run_openat2 },
	{ "handle-write", run_handle_write },
	{ "handle-truncate", run_handle_truncate },
	{ "write32", run_write32 },
	{ "pwrite32", run_pwrite32 },
	{ "write32-dirty", run_write32_dirty },
	{ "ftruncate32", run_ftruncate32 },
	{ "store", run_store },
	{ "store-dirty", run_store_dirty },
	{ "store-large", run_store_large },
	{ "store-by-read", run_store_by_read },
	{ "store-by-ioctl", run_store_by_ioctl },
	{ "store-by-other-process", run_store_by_other_process },
	{ "madvise-remove", run_madvise_remove },
	{ "threads", run_threads },
	{ "forked", run_forked },
	{ "burst", run_burst },
	{ "create-many", run_create_many },
	{ "create", run_create },
	{ "mkdir", run_mkdir },
	{ "mkfifo", run_mkfifo },
	{ "symlink", run_symlink },
	{ "link", run_link },
	{ "unlink", run_unlink },
	{ "rmdir", run_rmdir },
	{ "rename", run_rename },
	{ "exchange", run_exchange },
	{ "unnamed-then-write", run_unnamed_then_write },
	{ "moved-link-then-write", run_moved_link_then_write },
	{ "chmod", run_chmod },
	{ "chown", run_chown },
	{ "lchown", run_lchown },
	{ "times", run_times },
	{ "times-modified", run_times_modified },
	{ "times-modified-by-descriptor", run_times_modified_by_descriptor },
	{ "times-modified-by-empty-path", run_times_modified_by_empty_path },
	{ "setxattr", run_setxattr },
	{ "removexattr", run_removexattr },
	{ "bind-write", run_bind_write },
	{ "bind-truncate", run_bind_truncate },
	{ "chroot-write", run_chroot_write },
	{ "chroot-truncate", run_chroot_truncate },
	{ NULL, NULL },
};

static const struct change *find(const struct change *table, const char *name)
{
	for (; table->name; table++)
		if (!strcmp(table->name, name)) return table;
	return NULL;
}

int main(int count, char **args)
{
	if (count < 3) return 2;
	const struct change *c = find(changes, args[1]);
	if (!c) c = find(asynchronous_changes, args[1]);
	if (!c) {
		fprintf(stderr, "no change is called %s\n", args[1]);
		return 2;
	}
	c->run(args + 2);
	return 0;
}

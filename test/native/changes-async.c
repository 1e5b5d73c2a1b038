/* SPDX-License-Identifier: MIT */
/*
 * Changes by the kernel's asynchronous interfaces: POSIX AIO (threads of libc), Linux AIO and
 * io_uring, both by raw system calls so that no library has to be installed.
 * Source: man 3 aio, man 2 io_submit, man 2 io_uring_setup and io_uring_enter.
 */
#include "changes.h"
#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef RWF_APPEND
#define RWF_APPEND 0x10
#endif

static void run_posix_aio(char **a)
{
	struct aiocb cb = { .aio_fildes = open_file(a[0], O_RDWR), .aio_buf = new_content(LENGTH),
			    .aio_nbytes = LENGTH, .aio_offset = POSITION };
	const struct aiocb *list[] = { &cb };
	check(!aio_write(&cb), "aio_write");
	while (aio_error(&cb) == EINPROGRESS) aio_suspend(list, 1, NULL);
	check(aio_return(&cb) == LENGTH, "aio_return");
}

/* --- Linux AIO -------------------------------------------------------------------------------- */

static void submit(struct iocb *cbs, int count)
{
	aio_context_t context = 0;
	struct iocb *list[200];
	struct io_event events[200];
	for (int i = 0; i < count; i++) list[i] = &cbs[i];
	check(!syscall(SYS_io_setup, 256, &context), "io_setup");
	check(syscall(SYS_io_submit, context, count, list) == count, "io_submit");
	check(syscall(SYS_io_getevents, context, count, count, events, NULL) == count, "io_getevents");
	for (int i = 0; i < count; i++) {
		errno = events[i].res < 0 ? (int)-events[i].res : EIO;
		check(events[i].res > 0, "completion");
	}
}

static struct iocb one_write(int fd, uint64_t at, uint64_t length)
{
	struct iocb cb = { .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = (uint32_t)fd,
			   .aio_buf = (uint64_t)(unsigned long)new_content(length),
			   .aio_nbytes = length, .aio_offset = (int64_t)at };
	return cb;
}

static void run_aio(char **a)
{
	struct iocb cb = one_write(open_file(a[0], O_RDWR), POSITION, LENGTH);
	submit(&cb, 1);
}

static void run_aio_append(char **a)
{
	struct iocb cb = one_write(open_file(a[0], O_RDWR), 0, LENGTH);
	cb.aio_rw_flags = RWF_APPEND;
	submit(&cb, 1);
}

static void run_aio_vector(char **a)
{
	struct iovec v[2] = { { new_content(1000), 1000 }, { new_content(LENGTH), LENGTH } };
	struct iocb cb = one_write(open_file(a[0], O_RDWR), POSITION, 2);
	cb.aio_lio_opcode = IOCB_CMD_PWRITEV;
	cb.aio_buf = (uint64_t)(unsigned long)v;
	submit(&cb, 1);
}

static void run_aio_direct(char **a)
{
	struct iocb cb = one_write(open_file(a[0], O_RDWR | O_DIRECT), BLOCK, 2 * BLOCK);
	submit(&cb, 1);
}

/* More requests than one look of the capture program takes; the last ones matter too. */
static void run_aio_many(char **a)
{
	struct iocb cbs[150];
	int fd = open_file(a[0], O_RDWR);
	for (int i = 0; i < 150; i++) cbs[i] = one_write(fd, 100 + (uint64_t)i * 400, 200);
	submit(cbs, 150);
}

/* Reads into a shared mapping of the file: a store, made by io_submit. */
static void run_store_by_aio_read(char **a)
{
	int fd = open_file(a[0], O_RDWR), other = memfd_create("other", 0);
	fsync(fd);
	char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(p != MAP_FAILED && write(other, new_content(LENGTH), LENGTH) == LENGTH, "mmap");
	struct iocb cb = one_write(other, 0, LENGTH);
	cb.aio_lio_opcode = IOCB_CMD_PREAD;
	cb.aio_buf = (uint64_t)(unsigned long)(p + POSITION);
	wait_for_test();
	submit(&cb, 1);
	wait_for_test();
}

/* --- io_uring --------------------------------------------------------------------------------- */

struct ring {
	int fd;
	struct io_uring_params params;
	char *rings;
	struct io_uring_sqe *sqes;
};

static struct ring open_ring(unsigned flags)
{
	struct ring r = { .params = { .flags = flags, .sq_thread_idle = 1000 } };
	r.fd = (int)syscall(SYS_io_uring_setup, 8, &r.params);
	if (r.fd < 0 && errno == EPERM) errno = ENOSYS; /* switched off by a sysctl */
	check(r.fd >= 0, "io_uring_setup");
	size_t bytes = r.params.cq_off.cqes + r.params.cq_entries * sizeof(struct io_uring_cqe);
	size_t submission = r.params.sq_off.array + r.params.sq_entries * 4;
	if (submission > bytes) bytes = submission;
	int protection = PROT_READ | PROT_WRITE, shared = MAP_SHARED | MAP_POPULATE;
	r.rings = mmap(NULL, bytes, protection, shared, r.fd, IORING_OFF_SQ_RING);
	r.sqes = mmap(NULL, 8 * sizeof(struct io_uring_sqe), protection, shared, r.fd, IORING_OFF_SQES);
	check(r.rings != MAP_FAILED && r.sqes != MAP_FAILED, "mmap");
	return r;
}

static uint32_t *word(struct ring *r, uint32_t offset)
{
	return (uint32_t *)(r->rings + offset);
}

/* Submits one request and returns its result; `completes` 0: it posts no completion. */
static int perform(struct ring *r, struct io_uring_sqe sqe, int completes)
{
	uint32_t tail = *word(r, r->params.sq_off.tail), mask = *word(r, r->params.sq_off.ring_mask);
	r->sqes[tail & mask] = sqe;
	word(r, r->params.sq_off.array)[tail & mask] = tail & mask;
	__atomic_store_n(word(r, r->params.sq_off.tail), tail + 1, __ATOMIC_SEQ_CST);
	unsigned flags = completes ? IORING_ENTER_GETEVENTS : 0;
	if (r->params.flags & IORING_SETUP_SQPOLL) {
		uint32_t state = __atomic_load_n(word(r, r->params.sq_off.flags), __ATOMIC_SEQ_CST);
		if (state & IORING_SQ_NEED_WAKEUP) flags |= IORING_ENTER_SQ_WAKEUP;
	}
	check(syscall(SYS_io_uring_enter, r->fd, 1, completes, flags, NULL, 0) >= 0, "io_uring_enter");
	if (!completes) return 0;
	uint32_t head = *word(r, r->params.cq_off.head);
	struct io_uring_cqe *cqes = (void *)(r->rings + r->params.cq_off.cqes);
	struct io_uring_cqe *cqe = &cqes[head & *word(r, r->params.cq_off.ring_mask)];
	__atomic_store_n(word(r, r->params.cq_off.head), head + 1, __ATOMIC_RELEASE);
	errno = cqe->res < 0 ? -cqe->res : 0;
	if (cqe->res == -EINVAL) errno = ENOSYS; /* an operation that this kernel lacks */
	check(cqe->res >= 0, "io_uring");
	return cqe->res;
}

static struct io_uring_sqe request(int opcode, int fd, const void *address, unsigned length,
				   uint64_t offset)
{
	struct io_uring_sqe sqe;
	memset(&sqe, 0, sizeof sqe);
	sqe.opcode = (uint8_t)opcode;
	sqe.fd = fd;
	sqe.addr = (uint64_t)(unsigned long)address;
	sqe.len = length;
	sqe.off = offset;
	return sqe;
}

static void uring_write(char **a, unsigned ring_flags, int open_flags, uint8_t sqe_flags)
{
	struct ring r = open_ring(ring_flags);
	int fd = open_file(a[0], open_flags);
	struct io_uring_sqe sqe =
		request(IORING_OP_WRITE, fd, new_content(2 * BLOCK), 2 * BLOCK, BLOCK);
	sqe.flags = sqe_flags;
	check(perform(&r, sqe, 1) == 2 * BLOCK, "short");
}

static void run_uring_write(char **a)
{
	uring_write(a, 0, O_RDWR, 0);
}

static void run_uring_write_async(char **a)
{
	uring_write(a, 0, O_RDWR, IOSQE_ASYNC);
}

static void run_uring_write_direct(char **a)
{
	uring_write(a, 0, O_RDWR | O_DIRECT, 0);
}

static void run_uring_write_polled(char **a)
{
	uring_write(a, IORING_SETUP_SQPOLL, O_RDWR, 0);
}

static void run_uring_append(char **a)
{
	struct ring r = open_ring(0);
	int fd = open_file(a[0], O_RDWR | O_APPEND);
	perform(&r, request(IORING_OP_WRITE, fd, new_content(LENGTH), LENGTH, 0), 1);
}

static void run_uring_current(char **a)
{
	struct ring r = open_ring(0);
	int fd = open_file(a[0], O_RDWR);
	lseek(fd, POSITION, SEEK_SET);
	perform(&r, request(IORING_OP_WRITE, fd, new_content(LENGTH), LENGTH, (uint64_t)-1), 1);
}

static void run_uring_writev(char **a)
{
	struct ring r = open_ring(0);
	struct iovec v[2] = { { new_content(1000), 1000 }, { new_content(LENGTH), LENGTH } };
	perform(&r, request(IORING_OP_WRITEV, open_file(a[0], O_RDWR), v, 2, POSITION), 1);
}

static void run_uring_write_fixed(char **a)
{
	struct ring r = open_ring(0);
	int fd = open_file(a[0], O_RDWR);
	struct iovec v = { new_content(BLOCK), BLOCK };
	check(!syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_BUFFERS, &v, 1), "buffers");
	check(!syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_FILES, &fd, 1), "register files");
	struct io_uring_sqe sqe = request(IORING_OP_WRITE_FIXED, 0, v.iov_base, LENGTH, POSITION);
	sqe.flags = IOSQE_FIXED_FILE;
	perform(&r, sqe, 1);
}

/* No completion is posted for a success, so nothing announces it. */
static void run_uring_write_skip(char **a)
{
	struct ring r = open_ring(0);
	int fd = open_file(a[0], O_RDWR);
	check(pwrite(fd, "x", 1, POSITION + 1) == 1, "pwrite");
	wait_for_test();
	struct io_uring_sqe sqe =
		request(IORING_OP_WRITE, fd, new_content(LENGTH), LENGTH, POSITION);
	sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
	perform(&r, sqe, 0);
	/* A worker of the kernel may do it. */
	char seen = 'x';
	for (int i = 0; i < 2000 && seen == 'x'; i++) {
		check(pread(fd, &seen, 1, POSITION + 1) == 1, "pread");
		usleep(1000);
	}
	wait_for_test();
}

static void run_uring_fallocate(char **a)
{
	struct ring r = open_ring(0);
	struct io_uring_sqe sqe = request(IORING_OP_FALLOCATE, open_file(a[0], O_RDWR), NULL,
					  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, POSITION);
	sqe.addr = 20000;
	perform(&r, sqe, 1);
}

static void run_uring_ftruncate(char **a)
{
	struct ring r = open_ring(0);
	int fd = open_file(a[0], O_RDWR);
	perform(&r, request(55 /* IORING_OP_FTRUNCATE */, fd, NULL, 0, POSITION), 1);
}

static void run_uring_open(char **a)
{
	struct ring r = open_ring(0);
	struct io_uring_sqe sqe = request(IORING_OP_OPENAT, AT_FDCWD, a[0], 0644, 0);
	sqe.open_flags = O_WRONLY | O_TRUNC;
	perform(&r, sqe, 1);
}

static void run_uring_open2(char **a)
{
	struct ring r = open_ring(0);
	struct open_how how = { .flags = O_WRONLY | O_TRUNC };
	uint64_t address = (uint64_t)(unsigned long)&how;
	perform(&r, request(IORING_OP_OPENAT2, AT_FDCWD, a[0], sizeof how, address), 1);
}

/* Opened into a slot of the ring: there is no descriptor to look at. */
static void run_uring_open_slot(char **a)
{
	struct ring r = open_ring(0);
	int none = -1;
	check(!syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_FILES, &none, 1), "register files");
	struct io_uring_sqe sqe = request(IORING_OP_OPENAT, AT_FDCWD, a[0], 0644, 0);
	sqe.open_flags = O_WRONLY | O_TRUNC;
	sqe.file_index = 1;
	perform(&r, sqe, 1);
}

static void run_uring_splice(char **a)
{
	struct ring r = open_ring(0);
	int ends[2], fd = open_file(a[0], O_RDWR);
	check(!pipe(ends) && write(ends[1], new_content(LENGTH), LENGTH) == LENGTH, "pipe");
	struct io_uring_sqe sqe = request(IORING_OP_SPLICE, fd, NULL, LENGTH, POSITION);
	sqe.splice_fd_in = ends[0];
	sqe.splice_off_in = (uint64_t)-1;
	perform(&r, sqe, 1);
}

const struct change asynchronous_changes[] = {
	{ "posix-aio", run_posix_aio },
	{ "aio", run_aio },
	{ "aio-append", run_aio_append },
	{ "aio-vector", run_aio_vector },
	{ "aio-direct", run_aio_direct },
	{ "aio-many", run_aio_many },
	{ "store-by-aio-read", run_store_by_aio_read },
	{ "uring-write", run_uring_write },
	{ "uring-write-async", run_uring_write_async },
	{ "uring-write-direct", run_uring_write_direct },
	{ "uring-write-polled", run_uring_write_polled },
	{ "uring-append", run_uring_append },
	{ "uring-current", run_uring_current },
	{ "uring-writev", run_uring_writev },
	{ "uring-write-fixed", run_uring_write_fixed },
	{ "uring-write-skip", run_uring_write_skip },
	{ "uring-fallocate", run_uring_fallocate },
	{ "uring-ftruncate", run_uring_ftruncate },
	{ "uring-open", run_uring_open },
	{ "uring-open2", run_uring_open2 },
	{ "uring-open-slot", run_uring_open_slot },
	{ "uring-splice", run_uring_splice },
	{ NULL, NULL },
};

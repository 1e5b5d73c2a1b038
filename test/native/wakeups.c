// SPDX-License-Identifier: MIT
/*
 * Does a reader of the ring ever sleep while a record waits? (native/bpf/ring.h, capture.bpf.c:
 * submit()) A child writes one record as soon as it is asked to, after a pause that differs each
 * time; the reader is awake for reasons of its own, sleeps, and must be woken.
 *
 * Usage: wakeups FOLDER ROUNDS. Prints how often it slept, and how often in vain; 77 when the
 * program cannot be loaded here. The reader's loop is the addon's, without libuv.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
#include "capture.h"
#include "ring.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wsign-compare"
#if defined(__x86_64__)
#include "capture.x86.lskel.h"
#elif defined(__aarch64__)
#include "capture.arm64.lskel.h"
#endif
#pragma GCC diagnostic pop

enum { RING_BYTES = 1 << 20, SLEEP_MS = 300, WRITER_PAUSE_NS = 6000, READER_PAUSE_NS = 3000 };

static u64 clock_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static void pause_below(u32 *seed, u32 limit_ns)
{
	*seed = *seed * 1103515245 + 12345;
	u64 until = clock_ns() + (*seed >> 16) % limit_ns;
	while (clock_ns() < until) continue;
}

static void write_when_asked(volatile u64 *asked, int file)
{
	u32 seed = 7;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (u64 round = 1;; round++) {
		while (*asked < round) continue;
		pause_below(&seed, WRITER_PAUSE_NS);
		if (pwrite(file, "record", 6, 0) != 6) _exit(1);
	}
}

static struct capture *load(const struct stat *root)
{
	struct capture *k = capture__open();
	if (!k) return NULL;
	k->rodata->watched_dev = major(root->st_dev) << 20 | minor(root->st_dev);
	k->rodata->root_ino = root->st_ino;
	k->rodata->page_shift = 12;
	k->maps.ring.max_entries = RING_BYTES;
	if (capture__load(k) || capture__attach(k) < 0) return NULL;
	k->bss->self_tgid = (u64)getpid();
	return k;
}

int main(int argc, char **argv)
{
	struct stat root, written;
	if (argc != 3 || chdir(argv[1]) || stat(".", &root)) return 2;
	u64 rounds = strtoull(argv[2], NULL, 10);
	int file = open("record", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (file < 0 || fstat(file, &written)) return 2;
	volatile u64 *asked =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct capture *k = load(&root);
	if (!k) {
		fprintf(stderr, "the program cannot be loaded: %s\n", strerror(errno));
		return 77;
	}
	int ring_fd = k->maps.ring.map_fd;
	struct ring ring = { .bytes = RING_BYTES, .awake = &k->bss->reader_awake };
	ring.consumer = mmap(NULL, RING_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, 0);
	ring.producer =
		mmap(NULL, RING_PAGE + 2 * RING_BYTES, PROT_READ, MAP_SHARED, ring_fd, RING_PAGE);
	int inner = epoll_create1(EPOLL_CLOEXEC), outer = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = { .events = EPOLLIN };
	if (epoll_ctl(inner, EPOLL_CTL_ADD, ring_fd, &e) || epoll_ctl(outer, EPOLL_CTL_ADD, inner, &e))
		return 2;
	pid_t writer = fork();
	if (writer == 0) write_when_asked(asked, file);

	u64 seen = 0, slept = 0, in_vain = 0;
	u32 seed = 3, header;
	*asked = 1;
	for (u64 turn = 0; seen < rounds && in_vain == 0; turn++) {
		char *record;
		ring_stay_awake(&ring);
		while ((record = ring_record(&ring, &header))) {
			const struct ls_event *event = (struct ls_event *)record;
			bool told = !(header & RING_DISCARDED) && event->ino == written.st_ino;
			/* The kernel dirties the page by itself now and then. */
			if (told && event->op == LS_OP_WRITE) seen++;
			ring_pass(&ring, header);
		}
		if (seen == *asked) *asked = seen + 1;
		pause_below(&seed, READER_PAUSE_NS);
		bool sleeps = ring_may_sleep(&ring);
		e.events = EPOLLIN;
		if (!sleeps) epoll_ctl(inner, EPOLL_CTL_MOD, ring_fd, &e);
		/* Mostly something else keeps the reader going; and epoll forgets what it had found. */
		bool goes_on = sleeps && turn % 4 != 0;
		bool woken = epoll_wait(outer, &e, 1, goes_on ? 0 : SLEEP_MS) > 0;
		slept += !goes_on;
		/* The writer may not have been given a core yet; then nothing waits. */
		if (woken || goes_on || !ring_record(&ring, &header)) continue;
		in_vain += epoll_wait(outer, &e, 1, SLEEP_MS) == 0;
	}
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	capture__destroy(k);
	printf("%llu records, slept %llu times, %llu in vain\n", (unsigned long long)seen,
	       (unsigned long long)slept, (unsigned long long)in_vain);
	return in_vain ? 1 : 0;
}

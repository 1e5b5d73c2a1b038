// SPDX-License-Identifier: MIT
/*
 * A stopwatch for "write() returned -> the bytes are in the target file". It trusts nothing that
 * the measured program says: it writes a stamped record into the source file and looks at the
 * bytes of the target file until the stamp is there.
 *
 * In: --source FILE (exists) and --target FILE (appears within --ready-ms). Out: one JSON object
 * on stdout. Exit 0 measured (lost records are counted), 2 usage, 3 the target never became ready.
 *
 * One record is outstanding at a time (closed loop): the next is written when the last one was
 * seen or given up, and not before its place in the pace. So a stall of a second counts once, not
 * a thousand times; bench/README.md says so too.
 *
 * The target is looked at through a shared mapping, not by pread: a spinning pread would be
 * millions of system calls a second, and a program that hooks sys_exit would be measured while it
 * is busy filtering us. Tools that replace the target by rename give it a new inode, and tools that
 * write in place may shrink it: so the path is looked up again every RELOOK_NS, and SIGBUS (a look
 * past a new end) means "not there yet".
 *
 * The observer runs with SCHED_IDLE: it spins, and on two cores a spinning thread of normal
 * priority would take the core that the measured program needs. SCHED_IDLE runs only when nothing
 * else wants the core and is preempted at once by a wake-up. The price is that it can look late;
 * "blind" reports how long before the sighting its previous look was, so the price is visible.
 * The same observer is used for the floor and for every product.
 *
 * The writer runs with SCHED_FIFO where that is allowed. Its write wakes the measured program,
 * which may preempt an ordinary writer before that has read the clock: the time of the return would
 * be taken too late and the latency come out too small, even negative. The writer sleeps between
 * records, so it takes no time from anybody; "writer" in the output says which it was.
 * Source: sched(7), mmap(2), sigaction(2).
 */
#define _GNU_SOURCE
#include "clock.h"

#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RELOOK_NS (50 * NS_PER_US)
#define FIRST_TIMEOUT_NS (4 * NS_PER_S)
#define STAMP_BYTES 8
#define RECORD_BYTES_MAX (1u << 20)
#define COUNT_MAX 1000000u
#define POPULATE_BYTES_MAX (64ull << 20)

struct options {
	const char *source, *target;
	uint64_t count, warmup, pace_us, jitter_us, size, fixed_offset, timeout_ms, ready_ms, nonce;
	bool random_offsets, print_samples;
};

/* One record in flight. `armed` is the hand-over: everything else is written before it. */
struct flight {
	uint64_t offset, stamp, timeout_ns;
	_Atomic uint64_t armed, stop;
	uint64_t seen_ns, blind_ns;
	sem_t done;
};

/* The target file as last looked up. */
struct view {
	int fd;
	dev_t device;
	ino_t inode;
	size_t bytes;
	const volatile uint8_t *start;
};

static struct options options = {
	.count = 1000, .warmup = 20, .pace_us = 1000, .size = 128, .timeout_ms = 1000,
	.ready_ms = 10000};
static struct flight flight;
static sigjmp_buf look_failed;

static void on_sigbus(int signal_number) {
	(void)signal_number;
	siglongjmp(look_failed, 1);
}

static void view_close(struct view *view) {
	if (view->start != NULL) munmap((void *)view->start, view->bytes);
	if (view->fd >= 0) close(view->fd);
	*view = (struct view){.fd = -1};
}

/* Looks the target up again and maps it anew if it is another file or has another size. */
static void view_refresh(struct view *view) {
	struct stat now;
	if (stat(options.target, &now) != 0) return view_close(view);
	if (view->start != NULL && now.st_dev == view->device && now.st_ino == view->inode &&
		(size_t)now.st_size == view->bytes)
		return;
	view_close(view);
	view->fd = open(options.target, O_RDONLY | O_CLOEXEC);
	if (view->fd < 0 || fstat(view->fd, &now) != 0 || now.st_size == 0) return view_close(view);
	void *start = mmap(NULL, (size_t)now.st_size, PROT_READ, MAP_SHARED, view->fd, 0);
	if (start == MAP_FAILED) return view_close(view);
	view->device = now.st_dev;
	view->inode = now.st_ino;
	view->bytes = (size_t)now.st_size;
	view->start = start;
	/* A page fault in the first look would be charged to the product. Large files are looked at
	 * in one place, which the warm-up touches. */
	if (view->bytes <= POPULATE_BYTES_MAX) madvise(start, view->bytes, MADV_POPULATE_READ);
}

/* The stamp stands at both ends of a record, so a half-copied record does not count as seen. */
static bool view_has(const struct view *view, uint64_t offset, uint64_t stamp) {
	if (view->start == NULL || offset + options.size > view->bytes) return false;
	uint64_t head, tail;
	memcpy(&head, (const void *)(view->start + offset), STAMP_BYTES);
	memcpy(&tail, (const void *)(view->start + offset + options.size - STAMP_BYTES), STAMP_BYTES);
	return head == stamp && tail == stamp;
}

/* One look. Its own function, so that no local variable lives across the jump out of SIGBUS. */
__attribute__((noinline)) static bool look(struct view *view) {
	if (sigsetjmp(look_failed, 0) != 0) {
		view_close(view);
		return false;
	}
	return view_has(view, flight.offset, flight.stamp);
}

static void observe_record(struct view *view) {
	uint64_t began = monotonic_ns(), looked = began;
	static uint64_t refreshed;
	for (;;) {
		bool there = look(view);
		uint64_t now = monotonic_ns();
		if (there) {
			flight.seen_ns = now;
			flight.blind_ns = now - looked;
			return;
		}
		if (now - began > flight.timeout_ns) {
			flight.seen_ns = 0;
			return;
		}
		looked = now;
		if (now - refreshed > RELOOK_NS) {
			view_refresh(view);
			refreshed = monotonic_ns();
		}
	}
}

static void *observe(void *unused) {
	(void)unused;
	struct sched_param priority = {0};
	/* See the header: a spinning observer must never win against the program it measures. */
	if (sched_setscheduler(0, SCHED_IDLE, &priority) != 0) die("sched_setscheduler");
	struct view view = {.fd = -1};
	uint64_t served = 0;
	while (!atomic_load(&flight.stop)) {
		if (atomic_load_explicit(&flight.armed, memory_order_acquire) == served) continue;
		served++;
		observe_record(&view);
		sem_post(&flight.done);
	}
	view_close(&view);
	return NULL;
}

static uint64_t offset_of(uint64_t *random, uint64_t source_bytes) {
	if (!options.random_offsets) return options.fixed_offset;
	return random_next(random) % (source_bytes / options.size) * options.size;
}

/* Waits until the target has the size of the source: the seed is not what is measured here. */
static void wait_ready(uint64_t source_bytes) {
	uint64_t end = monotonic_ns() + options.ready_ms * NS_PER_MS;
	struct stat found;
	while (stat(options.target, &found) != 0 || (uint64_t)found.st_size != source_bytes) {
		if (monotonic_ns() > end) {
			fprintf(stderr, "the target did not appear: %s\n", options.target);
			exit(3);
		}
		usleep(2000);
	}
}

struct results {
	int64_t *returned, *called, *blind;
	size_t count;
	uint64_t lost;
	bool fifo;
};

static void print_distribution(const char *name, int64_t *values, size_t count) {
	qsort(values, count, sizeof *values, compare_i64);
	if (count == 0) return (void)printf(",\"%s\":null", name);
	printf(",\"%s\":{\"min\":%.2f,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"max\":%.2f}", name,
		(double)values[0] / 1e3, (double)quantile_i64(values, count, 500) / 1e3,
		(double)quantile_i64(values, count, 900) / 1e3,
		(double)quantile_i64(values, count, 990) / 1e3, (double)values[count - 1] / 1e3);
}

static void print_samples(const char *name, const int64_t *values, size_t count) {
	printf(",\"%s\":[", name);
	for (size_t i = 0; i < count; i++) printf("%s%.2f", i == 0 ? "" : ",", (double)values[i] / 1e3);
	printf("]");
}

static void print_results(struct results *results) {
	printf("{\"n\":%zu,\"lost\":%llu,\"unit\":\"us\",\"writer\":\"%s\"", results->count,
		(unsigned long long)results->lost, results->fifo ? "fifo" : "normal");
	if (options.print_samples) {
		print_samples("samples", results->returned, results->count);
		print_samples("blinds", results->blind, results->count);
	}
	print_distribution("returned", results->returned, results->count);
	print_distribution("called", results->called, results->count);
	print_distribution("blind", results->blind, results->count);
	printf("}\n");
}

/* Writes the record that `flight` describes and waits until it was seen or given up. */
static void fly(int source, uint64_t *called, uint64_t *returned) {
	static uint8_t record[RECORD_BYTES_MAX];
	memset(record, (int)('a' + flight.stamp % 26), options.size);
	memcpy(record, &flight.stamp, STAMP_BYTES);
	memcpy(record + options.size - STAMP_BYTES, &flight.stamp, STAMP_BYTES);
	atomic_fetch_add_explicit(&flight.armed, 1, memory_order_release);
	*called = monotonic_ns();
	ssize_t written = pwrite(source, record, options.size, (off_t)flight.offset);
	*returned = monotonic_ns();
	if (written != (ssize_t)options.size) die("pwrite");
	while (sem_wait(&flight.done) != 0) {
	}
}

/* A product may not watch yet when its seed is done: the first record is written again until one
 * arrives, so that a slow start is not taken for a loss. */
static void wait_flowing(int source) {
	uint64_t end = monotonic_ns() + options.ready_ms * NS_PER_MS, called, returned;
	flight.offset = options.random_offsets ? 0 : options.fixed_offset;
	flight.timeout_ns = options.ready_ms * NS_PER_MS;
	if (flight.timeout_ns > FIRST_TIMEOUT_NS) flight.timeout_ns = FIRST_TIMEOUT_NS;
	for (uint64_t attempt = 0; monotonic_ns() < end; attempt++) {
		flight.stamp = (options.nonce << 32) ^ (0x80000000ull + attempt);
		fly(source, &called, &returned);
		if (flight.seen_ns != 0) return;
	}
	fprintf(stderr, "no record ever arrived\n");
	exit(3);
}

static void run(int source, uint64_t source_bytes, struct results *results) {
	uint64_t random = options.nonce | 1, total = options.warmup + options.count;
	uint64_t next = monotonic_ns(), called, returned;
	for (uint64_t i = 0; i < total; i++) {
		bool warm = i < options.warmup;
		sleep_until_ns(next);
		flight.offset = offset_of(&random, source_bytes);
		flight.stamp = (options.nonce << 32) ^ (i + 1);
		flight.timeout_ns = options.timeout_ms * NS_PER_MS;
		fly(source, &called, &returned);
		next = returned + options.pace_us * NS_PER_US;
		/* Without jitter, counted from the sighting, the closed loop would lock onto the phase of
		 * a tool that polls. */
		if (options.jitter_us > 0)
			next = monotonic_ns() + (options.pace_us + random_next(&random) % options.jitter_us) *
									NS_PER_US;
		if (flight.seen_ns == 0) results->lost += warm ? 0 : 1;
		if (warm || flight.seen_ns == 0) continue;
		/* Negative if the product delivered before an ordinary writer got its core back. */
		results->returned[results->count] = (int64_t)(flight.seen_ns - returned);
		results->called[results->count] = (int64_t)(flight.seen_ns - called);
		results->blind[results->count++] = (int64_t)flight.blind_ns;
	}
}

static void parse(int argc, char **argv) {
	static const struct option known[] = {{"source", 1, 0, 's'}, {"target", 1, 0, 't'},
		{"count", 1, 0, 'n'}, {"warmup", 1, 0, 'w'}, {"pace-us", 1, 0, 'p'},
		{"jitter-us", 1, 0, 'j'}, {"size", 1, 0, 'b'},
		{"offset", 1, 0, 'o'}, {"random", 0, 0, 'r'}, {"timeout-ms", 1, 0, 'm'},
		{"ready-ms", 1, 0, 'y'}, {"nonce", 1, 0, 'x'}, {"samples", 0, 0, 'S'}, {0, 0, 0, 0}};
	for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		switch (option) {
		case 's': options.source = optarg; break;
		case 't': options.target = optarg; break;
		case 'n': options.count = number_argument("count", optarg); break;
		case 'w': options.warmup = number_argument("warmup", optarg); break;
		case 'p': options.pace_us = number_argument("pace-us", optarg); break;
		case 'j': options.jitter_us = number_argument("jitter-us", optarg); break;
		case 'b': options.size = number_argument("size", optarg); break;
		case 'o': options.fixed_offset = number_argument("offset", optarg); break;
		case 'r': options.random_offsets = true; break;
		case 'm': options.timeout_ms = number_argument("timeout-ms", optarg); break;
		case 'y': options.ready_ms = number_argument("ready-ms", optarg); break;
		case 'x': options.nonce = number_argument("nonce", optarg); break;
		case 'S': options.print_samples = true; break;
		default: exit(2);
		}
	}
	if (options.source == NULL || options.target == NULL || options.count == 0 ||
		options.count > COUNT_MAX || options.warmup == 0 || options.warmup > COUNT_MAX ||
		options.size < 2 * STAMP_BYTES || options.size > RECORD_BYTES_MAX) {
		fprintf(stderr, "usage: stopwatch --source FILE --target FILE [--count N] [--warmup N]\n"
						"  [--pace-us N] [--jitter-us N] [--size BYTES] [--offset N | --random]\n"
						"  [--timeout-ms N] [--ready-ms N] [--nonce N] [--samples]\n");
		exit(2);
	}
	/* Two runs on one file must not take each other's stamps for their own. */
	if (options.nonce == 0) options.nonce = monotonic_ns() / NS_PER_US;
	options.nonce &= 0xffffffffull;
}

int main(int argc, char **argv) {
	parse(argc, argv);
	int source = open(options.source, O_RDWR | O_CLOEXEC);
	struct stat found;
	if (source < 0 || fstat(source, &found) != 0) die(options.source);
	uint64_t source_bytes = (uint64_t)found.st_size;
	if (source_bytes < options.size || options.fixed_offset + options.size > source_bytes) {
		fprintf(stderr, "the source is too small\n");
		return 2;
	}
	struct sigaction action = {.sa_handler = on_sigbus, .sa_flags = SA_NODEFER};
	sigaction(SIGBUS, &action, NULL);
	wait_ready(source_bytes);
	struct results results = {.returned = calloc(options.count, sizeof(int64_t)),
		.called = calloc(options.count, sizeof(int64_t)),
		.blind = calloc(options.count, sizeof(int64_t))};
	if (results.returned == NULL || results.called == NULL || results.blind == NULL) die("calloc");
	sem_init(&flight.done, 0, 0);
	pthread_t observer;
	if (pthread_create(&observer, NULL, observe, NULL) != 0) die("pthread_create");
	struct sched_param first = {.sched_priority = 1};
	results.fifo = sched_setscheduler(0, SCHED_FIFO, &first) == 0;
	wait_flowing(source);
	run(source, source_bytes, &results);
	atomic_store(&flight.stop, 1);
	pthread_join(observer, NULL);
	print_results(&results);
	return 0;
}

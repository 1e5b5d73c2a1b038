// SPDX-License-Identifier: MIT
/*
 * The load generator: makes folders of small files, writes into them at a given rate, and writes
 * one large file. Everything is drawn from a seed, so each round and each product gets the same.
 *
 *   load tree DIR FILES BYTES          FILES files of exactly BYTES, 100 to a folder
 *   load mixed DIR FILES BYTES_MAX     the same with sizes from 0 to BYTES_MAX
 *   load writes DIR FILES BYTES RATE MS   128-byte pwrites, RATE a second, on what `tree` made
 *   load stream FILE BYTES             one sequential write by 1 MiB calls
 * `writes` and `stream` print one JSON object. `writes` never drops a write to keep the rate: it
 * falls behind, for at most 4 times MS, and reports the rate that it reached.
 */
#define _GNU_SOURCE
#include "clock.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_PER_FOLDER 100
#define FILES_OPEN_MAX 10000
#define FILE_BYTES_MAX (1u << 20)
#define WRITE_BYTES 128
#define STREAM_CALL_BYTES (1u << 20)
#define TICK_NS NS_PER_MS
#define OVERTIME_FACTOR 4

static uint64_t random_state = 0x6c6f636b73746570ull;

static void fill_random(uint8_t *bytes, size_t count) {
	for (size_t i = 0; i < count; i += sizeof(uint64_t)) {
		uint64_t word = random_next(&random_state);
		memcpy(bytes + i, &word, count - i < sizeof word ? count - i : sizeof word);
	}
}

static void file_path(char *path, size_t room, const char *folder, uint64_t index) {
	snprintf(path, room, "%s/d%04llu/f%06llu", folder,
		(unsigned long long)(index / FILES_PER_FOLDER), (unsigned long long)index);
}

static void make_tree(const char *folder, uint64_t files, uint64_t bytes, int mixed) {
	static uint8_t content[FILE_BYTES_MAX];
	char path[4096];
	if (bytes > FILE_BYTES_MAX) exit(2);
	for (uint64_t i = 0; i < files; i++) {
		if (i % FILES_PER_FOLDER == 0) {
			snprintf(path, sizeof path, "%s/d%04llu", folder,
				(unsigned long long)(i / FILES_PER_FOLDER));
			if (mkdir(path, 0755) != 0 && errno != EEXIST) die(path);
		}
		size_t length = mixed ? random_next(&random_state) % (bytes + 1) : bytes;
		file_path(path, sizeof path, folder, i);
		int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		if (file < 0) die(path);
		fill_random(content, length);
		if (write(file, content, length) != (ssize_t)length) die(path);
		close(file);
	}
}

static int *open_tree(const char *folder, uint64_t files) {
	if (files == 0 || files > FILES_OPEN_MAX) exit(2);
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	int *open_files = calloc(files, sizeof(int));
	if (open_files == NULL) die("calloc");
	char path[4096];
	for (uint64_t i = 0; i < files; i++) {
		file_path(path, sizeof path, folder, i);
		open_files[i] = open(path, O_WRONLY | O_CLOEXEC);
		if (open_files[i] < 0) die(path);
	}
	return open_files;
}

static void run_writes(const char *folder, uint64_t files, uint64_t bytes, uint64_t rate,
	uint64_t duration_ms) {
	int *open_files = open_tree(folder, files);
	uint64_t total = rate * duration_ms / 1000, done = 0, slots = bytes / WRITE_BYTES;
	uint8_t content[WRITE_BYTES];
	if (slots == 0 || total == 0) exit(2);
	uint64_t began = monotonic_ns(), limit = began + OVERTIME_FACTOR * duration_ms * NS_PER_MS;
	for (uint64_t tick = began; done < total && monotonic_ns() < limit; tick += TICK_NS) {
		sleep_until_ns(tick);
		uint64_t due = (monotonic_ns() - began) * rate / NS_PER_S + 1;
		for (uint64_t burst = 0; done < due && done < total && burst < rate; burst++, done++) {
			fill_random(content, sizeof content);
			int file = open_files[random_next(&random_state) % files];
			off_t offset = (off_t)(random_next(&random_state) % slots * WRITE_BYTES);
			if (pwrite(file, content, sizeof content, offset) != WRITE_BYTES) die("pwrite");
		}
	}
	double seconds = (double)(monotonic_ns() - began) / 1e9;
	printf("{\"asked\":%llu,\"written\":%llu,\"seconds\":%.3f,\"perSecond\":%.0f,"
		"\"endedNs\":%llu}\n",
		(unsigned long long)total, (unsigned long long)done, seconds, (double)done / seconds,
		(unsigned long long)monotonic_ns());
}

static void run_stream(const char *path, uint64_t bytes) {
	static uint8_t content[STREAM_CALL_BYTES];
	fill_random(content, sizeof content);
	uint64_t began = monotonic_ns();
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (file < 0) die(path);
	for (uint64_t done = 0; done < bytes;) {
		/* Each call differs, so that a product cannot win by recognising equal blocks. */
		memcpy(content, &done, sizeof done);
		size_t part = bytes - done < sizeof content ? bytes - done : sizeof content;
		ssize_t written = write(file, content, part);
		if (written <= 0) die(path);
		done += (uint64_t)written;
	}
	close(file);
	printf("{\"bytes\":%llu,\"seconds\":%.4f,\"endedNs\":%llu}\n", (unsigned long long)bytes,
		(double)(monotonic_ns() - began) / 1e9, (unsigned long long)monotonic_ns());
}

int main(int argc, char **argv) {
	if (argc == 5 && (strcmp(argv[1], "tree") == 0 || strcmp(argv[1], "mixed") == 0)) {
		make_tree(argv[2], number_argument("files", argv[3]), number_argument("bytes", argv[4]),
			strcmp(argv[1], "mixed") == 0);
	} else if (argc == 7 && strcmp(argv[1], "writes") == 0) {
		run_writes(argv[2], number_argument("files", argv[3]), number_argument("bytes", argv[4]),
			number_argument("rate", argv[5]), number_argument("ms", argv[6]));
	} else if (argc == 4 && strcmp(argv[1], "stream") == 0) {
		run_stream(argv[2], number_argument("bytes", argv[3]));
	} else {
		fprintf(stderr, "usage: load tree|mixed DIR FILES BYTES | load stream FILE BYTES |\n"
						"       load writes DIR FILES BYTES RATE MS\n");
		return 2;
	}
	return 0;
}

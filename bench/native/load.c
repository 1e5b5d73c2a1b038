// SPDX-License-Identifier: MIT
/*
 * The load generator: makes folders of small files, writes into them at a given rate, and writes
 * one large file. Everything is drawn from a seed, so each round and each product gets the same.
 *
 *   load tree DIR FILES BYTES          FILES files of exactly BYTES, 100 to a folder
 *   load mixed DIR FILES MIN MAX       FILES files of MIN to MAX bytes, 20 to 100 to a folder
 *   load empty DIR FILES               FILES empty files, 1000 to a folder
 *   load writes DIR FILES BYTES RATE MS   128-byte pwrites, RATE a second, on what `tree` made
 *   load stream FILE BYTES             one sequential write by 1 MiB calls
 * Content is random, so nothing can be compressed or found twice. `writes` and `stream` print one
 * JSON object. `writes` never drops a write to keep the rate: it falls behind, for at most 4 times
 * MS, and reports the rate that it reached.
 */
#define _GNU_SOURCE
#include "clock.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_PER_FOLDER 100
#define MIXED_PER_FOLDER_MIN 20
#define EMPTY_PER_FOLDER 1000
#define FOLDER_FORMAT "%s/d%04llu"
#define FILE_FORMAT "%s/f%06llu"
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

/* A tree: sizes, and how many files a folder gets, are drawn between two bounds. */
struct shape {
	uint64_t files, bytes_min, bytes_max, folder_min, folder_max;
};

static uint64_t draw(uint64_t least, uint64_t most) {
	return least == most ? least : least + random_next(&random_state) % (most - least + 1);
}

static void make_file(const char *path, uint8_t *content, size_t length) {
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (file < 0) die(path);
	fill_random(content, length);
	if (length > 0 && write(file, content, length) != (ssize_t)length) die(path);
	close(file);
}

static void make_tree(const char *root, struct shape shape) {
	static uint8_t content[FILE_BYTES_MAX];
	char folder[4096], path[4200];
	if (shape.bytes_max > FILE_BYTES_MAX || shape.bytes_min > shape.bytes_max) exit(2);
	uint64_t room = 0, folders = 0;
	for (uint64_t i = 0; i < shape.files; i++, room--) {
		if (room == 0) {
			room = draw(shape.folder_min, shape.folder_max);
			snprintf(folder, sizeof folder, FOLDER_FORMAT, root, (unsigned long long)folders++);
			if (mkdir(folder, 0755) != 0 && errno != EEXIST) die(folder);
		}
		snprintf(path, sizeof path, FILE_FORMAT, folder, (unsigned long long)i);
		make_file(path, content, draw(shape.bytes_min, shape.bytes_max));
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
		snprintf(path, sizeof path, FOLDER_FORMAT "/f%06llu", folder,
			(unsigned long long)(i / FILES_PER_FOLDER), (unsigned long long)i);
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

static void usage(void) {
	fprintf(stderr, "usage: load tree DIR FILES BYTES | load mixed DIR FILES MIN MAX |\n"
					"       load empty DIR FILES | load stream FILE BYTES |\n"
					"       load writes DIR FILES BYTES RATE MS\n");
	exit(2);
}

int main(int argc, char **argv) {
	const char *kind = argc > 2 ? argv[1] : "", *place = argc > 2 ? argv[2] : "";
	uint64_t number[4] = {0};
	if (argc > 7) usage();
	for (int i = 3; i < argc; i++) number[i - 3] = number_argument(kind, argv[i]);
	if (argc == 5 && strcmp(kind, "tree") == 0) {
		make_tree(place, (struct shape){.files = number[0], .bytes_min = number[1],
			.bytes_max = number[1], .folder_min = FILES_PER_FOLDER,
			.folder_max = FILES_PER_FOLDER});
	} else if (argc == 6 && strcmp(kind, "mixed") == 0) {
		make_tree(place, (struct shape){.files = number[0], .bytes_min = number[1],
			.bytes_max = number[2], .folder_min = MIXED_PER_FOLDER_MIN,
			.folder_max = FILES_PER_FOLDER});
	} else if (argc == 4 && strcmp(kind, "empty") == 0) {
		make_tree(place, (struct shape){.files = number[0], .folder_min = EMPTY_PER_FOLDER,
			.folder_max = EMPTY_PER_FOLDER});
	} else if (argc == 7 && strcmp(kind, "writes") == 0) {
		run_writes(place, number[0], number[1], number[2], number[3]);
	} else if (argc == 4 && strcmp(kind, "stream") == 0) {
		run_stream(place, number[0]);
	} else {
		usage();
	}
	return 0;
}

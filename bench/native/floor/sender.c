// SPDX-License-Identifier: MIT
/*
 * The sending half of the C floor: BPF ring -> pread -> plain TCP. One thread, one file, no
 * encryption, no cut, no journal: whatever a product adds to that is its overhead.
 *
 * Usage: floor-sender ROOT FILE PORT. Prints "live" when writes flow; ends on SIGTERM.
 * Source: libbpf ring_buffer__poll, tcp(7).
 */
#define _GNU_SOURCE
#include "../clock.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "event.h"
#include "floor.skel.h"

/* The kernel keeps dev_t as 12 bits major, 20 bits minor; stat() reports glibc's other layout. */
#define KERNEL_DEVICE(device) ((major(device) << 20) | minor(device))

static int link_fd, file_fd;
static ino_t file_inode;
static volatile sig_atomic_t ended;

static void on_end(int signal_number) {
	(void)signal_number;
	ended = 1;
}

static void send_all(const uint8_t *bytes, size_t length) {
	while (length > 0) {
		ssize_t sent = send(link_fd, bytes, length, MSG_NOSIGNAL);
		if (sent < 0) die("send");
		bytes += sent;
		length -= (size_t)sent;
	}
}

static int on_event(void *context, void *data, size_t bytes) {
	(void)context;
	(void)bytes;
	static uint8_t frame[sizeof(struct floor_frame) + FLOOR_PAYLOAD_BYTES_MAX];
	const struct floor_event *event = data;
	if (event->inode != file_inode) return 0;
	uint64_t offset = event->offset, left = event->length;
	while (left > 0) {
		size_t part = left < FLOOR_PAYLOAD_BYTES_MAX ? left : FLOOR_PAYLOAD_BYTES_MAX;
		ssize_t got = pread(file_fd, frame + sizeof(struct floor_frame), part, (off_t)offset);
		if (got < 0) die("pread");
		if (got == 0) return 0;
		struct floor_frame head = {offset, (unsigned long long)got};
		memcpy(frame, &head, sizeof head);
		send_all(frame, sizeof head + (size_t)got);
		offset += (uint64_t)got;
		left -= (uint64_t)got;
	}
	return 0;
}

static void connect_to(uint16_t port) {
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int on = 1;
	link_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (link_fd < 0 || connect(link_fd, (struct sockaddr *)&to, sizeof to) != 0) die("connect");
	setsockopt(link_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int main(int argc, char **argv) {
	if (argc != 4) {
		fprintf(stderr, "usage: floor-sender ROOT FILE PORT\n");
		return 2;
	}
	struct stat root, file;
	if (stat(argv[1], &root) != 0) die(argv[1]);
	file_fd = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (file_fd < 0 || fstat(file_fd, &file) != 0) die(argv[2]);
	file_inode = file.st_ino;
	struct sigaction action = {.sa_handler = on_end};
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);

	struct floor_bpf *program = floor_bpf__open();
	if (program == NULL) die("floor_bpf__open");
	program->rodata->root_device = KERNEL_DEVICE(root.st_dev);
	program->rodata->root_inode = root.st_ino;
	program->rodata->own_tgid = (uint32_t)getpid();
	if (floor_bpf__load(program) != 0) die("floor_bpf__load");
	if (floor_bpf__attach(program) != 0) die("floor_bpf__attach");
	struct ring_buffer *ring =
		ring_buffer__new(bpf_map__fd(program->maps.events), on_event, NULL, NULL);
	if (ring == NULL) die("ring_buffer__new");
	connect_to((uint16_t)number_argument("port", argv[3]));
	printf("live\n");
	fflush(stdout);
	while (!ended) {
		int got = ring_buffer__poll(ring, -1);
		if (got < 0 && got != -EINTR) die("ring_buffer__poll");
	}
	ring_buffer__free(ring);
	floor_bpf__destroy(program);
	return 0;
}

// SPDX-License-Identifier: MIT
/*
 * The receiving half of the C floor: plain TCP -> pwrite into one file. Another process than the
 * sender, as a real target is.
 *
 * Usage: floor-receiver FILE. Prints "port N" when it listens on 127.0.0.1; serves one sender and
 * ends when that closes or on SIGTERM.
 */
#define _GNU_SOURCE
#include "../clock.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "event.h"

static int accept_one(void) {
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t at_bytes = sizeof at;
	int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) != 0) die("bind");
	if (listen(listener, 1) != 0) die("listen");
	if (getsockname(listener, (struct sockaddr *)&at, &at_bytes) != 0) die("getsockname");
	printf("port %u\n", ntohs(at.sin_port));
	fflush(stdout);
	int link = accept(listener, NULL, NULL);
	if (link < 0) die("accept");
	setsockopt(link, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	close(listener);
	return link;
}

/* Applies the whole frames at the start of `bytes`; returns how many bytes they took. */
static size_t apply_frames(int file, const uint8_t *bytes, size_t length) {
	size_t taken = 0;
	struct floor_frame head;
	while (length - taken >= sizeof head) {
		memcpy(&head, bytes + taken, sizeof head);
		if (head.length > FLOOR_PAYLOAD_BYTES_MAX) {
			fprintf(stderr, "frame too long\n");
			exit(1);
		}
		if (length - taken < sizeof head + head.length) break;
		const uint8_t *payload = bytes + taken + sizeof head;
		if (pwrite(file, payload, head.length, (off_t)head.offset) != (ssize_t)head.length)
			die("pwrite");
		taken += sizeof head + head.length;
	}
	return taken;
}

int main(int argc, char **argv) {
	if (argc != 2) {
		fprintf(stderr, "usage: floor-receiver FILE\n");
		return 2;
	}
	static uint8_t buffer[2 * (FLOOR_PAYLOAD_BYTES_MAX + sizeof(struct floor_frame))];
	int file = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (file < 0) die(argv[1]);
	int link = accept_one();
	size_t have = 0;
	for (;;) {
		ssize_t got = recv(link, buffer + have, sizeof buffer - have, 0);
		if (got < 0 && errno == EINTR) continue;
		if (got <= 0) return got < 0;
		have += (size_t)got;
		size_t taken = apply_frames(file, buffer, have);
		have -= taken;
		if (taken > 0 && have > 0) memmove(buffer, buffer + taken, have);
	}
}

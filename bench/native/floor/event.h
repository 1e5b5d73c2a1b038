// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* What the floor's BPF program tells its sender, and what the sender puts before each payload. */
#ifndef LOCKSTEP_BENCH_FLOOR_EVENT_H
#define LOCKSTEP_BENCH_FLOOR_EVENT_H

struct floor_event {
	unsigned long long inode, offset, length;
};

struct floor_frame {
	unsigned long long offset, length;
};

_Static_assert(sizeof(struct floor_event) == 24, "ABI");
_Static_assert(sizeof(struct floor_frame) == 16, "ABI");

#define FLOOR_PAYLOAD_BYTES_MAX (1u << 20)

#endif

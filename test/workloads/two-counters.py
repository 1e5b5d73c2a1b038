# Counts in one file and then in another, for some seconds: usage SECONDS FIRST SECOND. Pauses are
# such that a write is often alone when it is told of, and that two more come while it is read.
import os, random, struct, sys, time

first, second = (os.open(path, os.O_RDWR) for path in sys.argv[2:4])
pack, pwrite, now = struct.Struct("<d").pack, os.pwrite, time.perf_counter


def pause(least, most):
    until = now() + random.uniform(least, most)
    while now() < until:
        pass


end = time.monotonic() + float(sys.argv[1])
count = 0
while time.monotonic() < end:
    one, other = pack(count + 1), pack(count + 2)
    pwrite(first, one, 0)
    pause(0, 80e-6)
    pwrite(second, one, 0)
    pwrite(first, other, 0)
    pause(50e-6, 200e-6)
    pwrite(second, other, 0)
    pause(50e-6, 300e-6)
    count += 2
print(count)

"""Overwrites the same pages of two files for so many seconds, as fast as it can, in turn: page 0 of
the first, page 0 of the second, page 1 of the first, and so on, each with the same number at its
begin and end before the next number begins. So no moment has a larger number behind a smaller one.
Arguments: seconds, pages, first file, second file. Prints the last number."""
import os, struct, sys, time

seconds, pages = float(sys.argv[1]), int(sys.argv[2])
files = [os.open(path, os.O_WRONLY) for path in sys.argv[3:5]]
page_bytes = 8192
middle = bytes(page_bytes - 16)
end = time.monotonic() + seconds
number = 0
while time.monotonic() < end:
    number += 1
    stamp = struct.pack("<d", number)
    page = stamp + middle + stamp
    for at in range(pages):
        for file in files:
            os.pwrite(file, page, at * page_bytes)
print(number)

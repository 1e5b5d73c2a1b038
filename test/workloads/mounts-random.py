"""Random changes on a source of several filesystems, which are unmounted and mounted meanwhile.

Usage: mounts-random.py SOURCE IMAGES SEED SECONDS. The folders one, two and deep/three of SOURCE are
mount points of IMAGES/one.img, two.img and three.img. What an unmounted place hides is not touched,
and in the end all are mounted.
"""

import mmap
import os
import random
import shutil
import subprocess
import sys
import time

source, images, seed, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
choose = random.Random(seed)
mounts = {"one": "one.img", "two": "two.img", "deep/three": "three.img"}


def run(*arguments):
    return subprocess.run(arguments, capture_output=True).returncode == 0


def is_mounted(place):
    return os.path.ismount(f"{source}/{place}")


def mount(place):
    return run("mount", "-o", "loop", f"{images}/{mounts[place]}", f"{source}/{place}")


def folders():
    found = []
    for folder, names, files in os.walk(source):
        place = os.path.relpath(folder, source)
        if place in mounts and not is_mounted(place):
            names[:] = []
            continue
        if "lost+found" in names:
            names.remove("lost+found")
        found.append((folder, names, files))
    return found


def change():
    folder, names, files = choose.choice(folders())
    other = choose.choice(folders())[0]
    file = f"{folder}/{choose.choice(files)}" if files else None
    own = [name for name in names if name.startswith("d-")]
    child = f"{folder}/{choose.choice(own)}" if own else None
    kind = choose.randrange(16)
    if kind < 4:
        with open(f"{folder}/f{choose.randrange(30)}", "ab") as out:
            out.write(os.urandom(choose.choice([1, 100, 5000])))
    elif kind == 4:
        os.mkdir(f"{folder}/d-{choose.randrange(8)}")
    elif kind == 5 and child:
        os.rename(child, f"{other}/d-{choose.randrange(8)}")
    elif kind == 6 and child:
        shutil.rmtree(child)
    elif kind == 7:
        with open(f"{folder}/m{choose.randrange(5)}", "a+b") as out:
            out.truncate(16384)
            view = mmap.mmap(out.fileno(), 16384)
            at = choose.randrange(16000)
            view[at : at + 5] = b"store"
            time.sleep(0.003)
            view[at + 8 : at + 12] = b"more"
            view.close()
    elif kind == 8:
        place = choose.choice(list(mounts))
        if is_mounted(place):
            lazily = ["-l"] if choose.random() < 0.3 else []
            run("umount", *lazily, f"{source}/{place}")
            time.sleep(choose.choice([0, 0.1]))
        if choose.random() < 0.7 and not is_mounted(place):
            mount(place)
    elif file is None:
        return
    elif kind == 9:
        with open(file, "r+b") as out:
            out.seek(choose.randrange(os.path.getsize(file) + 1))
            out.write(b"x" * choose.randrange(1, 3000))
    elif kind == 10:
        os.truncate(file, choose.randrange(5000))
    elif kind == 11:
        shutil.move(file, f"{other}/f{choose.randrange(30)}")
    elif kind == 12:
        os.unlink(file)
    elif kind == 13:
        os.link(file, f"{other}/l{choose.randrange(30)}")
    elif kind == 14:
        os.chmod(file, choose.choice([0o644, 0o600, 0o755]))
    else:
        os.utime(file, (1, choose.randrange(10**9)))


count = 0
end = time.monotonic() + seconds
while time.monotonic() < end:
    try:
        change()
        count += 1
    except (OSError, shutil.Error):
        pass
for place in mounts:
    if not is_mounted(place):
        mount(place)
print(count)

# Compares two trees with nothing of Lockstep: walk-tree.py SOURCE TARGET [WITHOUT...]
#
# Kind, mode, owner, size, time in nanoseconds, device, link's text, extended attributes (ACLs and
# capabilities are attributes), which names are one file, content, and where files have holes.
# WITHOUT: `owner`, or the name of an attribute's class (`trusted`), that cannot be the same.
# Prints one line for each difference and ends with 1, or the number of entries and 0.
import errno, hashlib, os, stat, sys

without = set(sys.argv[3:])
# A hole may be filled up to what a filesystem allocates at once.
HOLE_MIN = 65536
# The rest of a last block is a hole or not: nobody can tell.
BLOCK = 4096


def attributes(path):
    found = {}
    try:
        for name in os.listxattr(path, follow_symlinks=False):
            if name.split(".")[0] not in without:
                found[name] = os.getxattr(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EACCES):
            raise
    return found


def content(path, size):
    """The digest, and how many bytes of large holes there are. Reading takes an own file's mode 0."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME)
    except PermissionError:
        return "unreadable", 0
    digest = hashlib.sha256()
    at, hole_bytes = 0, 0
    while at < size:
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            data = size
        if data - at >= HOLE_MIN:
            hole_bytes += (data - at) // BLOCK * BLOCK
        if data >= size:
            break
        at = os.lseek(fd, data, os.SEEK_HOLE)
    os.lseek(fd, 0, os.SEEK_SET)
    while piece := os.read(fd, 1 << 20):
        digest.update(piece)
    os.close(fd)
    return digest.hexdigest(), hole_bytes


def look(path):
    s = os.lstat(path)
    kind = stat.S_IFMT(s.st_mode)
    seen = {"kind": oct(kind), "mtime_ns": s.st_mtime_ns}
    if "attributes" not in without:
        seen["attributes"] = attributes(path)
    if kind != stat.S_IFLNK:
        seen["mode"] = oct(stat.S_IMODE(s.st_mode))
    if "owner" not in without:
        seen["owner"] = (s.st_uid, s.st_gid)
    if kind != stat.S_IFDIR:
        seen["nlink"] = s.st_nlink
    if kind == stat.S_IFREG:
        seen["size"] = s.st_size
        seen["digest"], seen["hole bytes"] = content(path, s.st_size)
    if kind == stat.S_IFLNK:
        seen["text"] = os.readlink(path)
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        seen["device"] = (os.major(s.st_rdev), os.minor(s.st_rdev))
    return seen, (s.st_ino, s.st_dev)


def walk(root):
    entries, files = {}, {}
    pending = [b""]
    while pending:
        path = pending.pop()
        seen, inode = look(os.path.join(root, path) if path else root)
        entries[path] = seen
        if "nlink" in seen:
            files.setdefault(inode, []).append(path)
        if seen["kind"] == oct(stat.S_IFDIR):
            try:
                pending += [os.path.join(path, name) for name in os.listdir(os.path.join(root, path))]
            except PermissionError:
                seen["names"] = "unreadable"
    for paths in files.values():
        for path in paths:
            entries[path]["same file as"] = sorted(paths)
    return entries


source, target = (walk(os.fsencode(root)) for root in sys.argv[1:3])
differences = []
for path in sorted(source.keys() | target.keys()):
    left, right = source.get(path), target.get(path)
    if left is None or right is None:
        differences.append(f"{path!r}: only in the {'source' if right is None else 'target'}")
    elif left != right:
        what = [key for key in left.keys() | right.keys() if left.get(key) != right.get(key)]
        texts = [f"{key} {left.get(key)!r} -> {right.get(key)!r}" for key in sorted(what)]
        differences.append(f"{path!r}: {'; '.join(texts)}"[:500])
for line in differences[:50]:
    print(line)
if differences:
    sys.exit(1)
print(f"{len(source)} entries")

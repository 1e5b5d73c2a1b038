# Makes a tree of everything that a Linux filesystem can hold, and changes each of it.
#
#   nasty-tree.py seed|live|offline ROOT SEED ABILITIES
#
# ABILITIES: `all` as root; `plain` leaves out what only root can make. Uses nothing of Lockstep.
# What the filesystem refuses (attributes on some) is left out and printed, one line for each kind.
import errno, os, random, socket, stat, struct, sys

phase, root, seed, abilities = sys.argv[1], os.fsencode(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
privileged = abilities == "all"
rng = random.Random(f"{phase} {seed}")
refused = {}

J = os.path.join
LONG = b"n" * 255
DEEP = b"d" * 255
NAMES = [b"new\nline", b"in\xff\xfevalid", LONG, b"-rf", b"--delete", b" ", b"*?[]", b"\\", b"\x01\x7f", b".lock", "ö".encode()]
# Seconds before 1970, in its last nanosecond, now, and after 2038.
TIMES = [-1, -2_000_000_000 * 10**9 - 1, -999_999_999, 0, 1, 1_700_000_000_123_456_789, 7_258_118_400_999_999_999]
MODES = [0o000, 0o777, 0o400, 0o4755, 0o2711, 0o1644, 0o6770, 0o644]
# What its owner cannot read, no other program than root's can copy.
MODES = MODES if privileged else [mode | 0o400 for mode in MODES]
OWNERS = [(0, 0), (12345, 54321), (65534, 65534), (4_000_000_000, 4_100_000_000)]


def attempt(what, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSPC, errno.EINVAL, errno.ENODATA):
            raise
        refused[f"{what} {errno.errorcode[error.errno]}"] = True


def write(path, *parts):
    """parts: bytes, or a number for a hole of that many bytes."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    at = 0
    for part in parts:
        if isinstance(part, int):
            at += part
            os.ftruncate(fd, at)
        else:
            os.pwrite(fd, part, at)
            at += len(part)
    os.close(fd)


def noise(count):
    return rng.randbytes(count)


def acl(*entries):
    """tag, permissions, id: see man 5 acl and include/uapi/linux/posix_acl_xattr.h."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, perm, who) for tag, perm, who in entries)


def access_acl(user, group):
    none = 0xFFFFFFFF
    rows = [(1, 7, none), (2, rng.randrange(8), user), (4, 4, none), (8, rng.randrange(8), group), (16, 7, none), (32, 0, none)]
    return acl(*rows)


def capability():
    """VFS_CAP_REVISION_2 with one random bit: see man 7 capabilities."""
    return struct.pack("<IIIII", 0x02000001, 1 << rng.randrange(20), 0, 0, 0)


def set_times(path):
    at = rng.choice(TIMES)
    os.utime(path, ns=(at, at), follow_symlinks=False)


def set_owner(path):
    if privileged:
        os.chown(path, *rng.choice(OWNERS), follow_symlinks=False)


def set_attributes(path):
    kind = stat.S_IFMT(os.lstat(path).st_mode)
    if kind in (stat.S_IFREG, stat.S_IFDIR):
        for name in (b"user.plain", b"user.\xff\xfe", b"user.empty", b"user.large"):
            value = {b"user.empty": b"", b"user.large": noise(900)}.get(name, noise(rng.randrange(1, 40)))
            attempt("user attribute", os.setxattr, path, name, value)
        attempt("access ACL", os.setxattr, path, b"system.posix_acl_access", access_acl(2, 3))
    if kind == stat.S_IFDIR:
        attempt("default ACL", os.setxattr, path, b"system.posix_acl_default", access_acl(4, 5))
    if privileged:
        attempt("trusted attribute", os.setxattr, path, b"trusted.t", noise(9), follow_symlinks=False)
    if privileged and kind == stat.S_IFREG:
        attempt("capability", os.setxattr, path, b"security.capability", capability())


def make_kinds(at):
    """One of each kind in a directory, some with odd metadata."""
    write(J(at, b"file"), noise(5000))
    write(J(at, b"empty"))
    write(J(at, b"hole-start"), 1 << 20, noise(4096))
    write(J(at, b"hole-middle"), noise(8192), 1 << 20, noise(10))
    write(J(at, b"hole-end"), noise(100), 3 << 20)
    write(J(at, b"hole-all"), 1 << 22)
    write(J(at, b"large"), noise(700_001))
    os.symlink(b"nowhere/at all", J(at, b"dangling"))
    os.symlink(b"/etc/hostname", J(at, b"absolute"))
    os.symlink(b"l" * 4095 if rng.randrange(2) else b"l" * 60, J(at, b"long"))
    os.symlink(b"in\xff\nvalid", J(at, b"link\xff"))
    os.symlink(b"file", J(at, b"link"))
    os.mkfifo(J(at, b"pipe"))
    os.mknod(J(at, b"socket"), stat.S_IFSOCK | 0o640)
    if privileged:
        os.mknod(J(at, b"character"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.mknod(J(at, b"block"), stat.S_IFBLK | 0o660, os.makedev(259, 1_000_000))
        for name in (b"dangling", b"pipe", b"character"):
            os.chown(J(at, name), 123, 456, follow_symlinks=False)
    for index, mode in enumerate(MODES):
        path = J(at, b"mode-%d" % index)
        write(path, noise(index))
        set_owner(path)
        os.chmod(path, mode)
    for name in NAMES:
        write(J(at, name), noise(20))
    write(J(at, b"attributes"), b"some")
    set_owner(J(at, b"attributes"))
    set_attributes(J(at, b"attributes"))
    for index, ns in enumerate(TIMES):
        path = J(at, b"time-%d" % index)
        write(path, b"t")
        os.utime(path, ns=(ns, ns))
    os.symlink(b"x", J(at, b"time-link"))
    os.utime(J(at, b"time-link"), ns=(5, 1_000_000_007), follow_symlinks=False)


def make_directories(at):
    for index, mode in enumerate([0o555, 0o777, 0o1777, 0o2775, 0o700] + ([0o000, 0o300] if privileged else [])):
        path = J(at, b"directory-%d" % index)
        os.mkdir(path)
        write(J(path, b"inside"), noise(30))
        os.mkdir(J(path, b"below"))
        set_owner(path)
        os.chmod(path, mode)
    path = J(at, b"inherits")
    os.mkdir(path)
    set_attributes(path)
    os.mkdir(J(path, b"inherited"))
    write(J(path, b"inherited-file"), b"i")
    os.mkfifo(J(path, b"inherited-pipe"))
    os.mkdir(J(path, b"bare"))
    for name in (b"system.posix_acl_access", b"system.posix_acl_default"):
        attempt("ACL", os.removexattr, J(path, b"bare"), name)
    write(J(at, b"bare-file"), b"no ACL of its own")
    os.rename(J(at, b"bare-file"), J(path, b"bare-file"))


def seed_tree():
    # Files made before it carry no ACL: nothing may be inherited at the other side either.
    places = [root, J(root, b"a"), J(root, b"a", DEEP), J(root, b"in\xff\n")]
    for place in places:
        os.makedirs(place, exist_ok=True)
        make_kinds(place)
        make_directories(place)
    links = [b"file", b"attributes", b"pipe", b"socket", b"dangling", b"hole-middle", b"empty"]
    for name in links:
        for index in range(rng.randrange(1, 4)):
            other = J(places[(index + 1) % len(places)], b"hard-%d-" % index + name)
            os.link(J(root, name), other, follow_symlinks=False)
    attempt("default ACL", os.setxattr, root, b"system.posix_acl_default", access_acl(6, 7))
    stamp_directories()


def directories():
    found = [path for path, _, _ in os.walk(root)]
    return sorted(found, key=len, reverse=True)


def stamp_directories():
    for path in directories():
        if rng.randrange(2):
            set_times(path)


def replace(path, make):
    if os.path.isdir(path) and not os.path.islink(path):
        for below, folders, files in os.walk(path, topdown=False):
            os.chmod(below, 0o700)
            for name in files + folders:
                inner = J(below, name)
                (os.rmdir if os.path.isdir(inner) and not os.path.islink(inner) else os.unlink)(inner)
        os.rmdir(path)
    elif os.path.lexists(path):
        os.unlink(path)
    make(path)


def change_in_place(at):
    """Content, size, holes and every kind of metadata, of what is there."""
    fd = os.open(J(at, b"large"), os.O_WRONLY)
    os.pwrite(fd, noise(16), 300_000)
    os.close(fd)
    with open(J(at, b"file"), "ab") as file:
        file.write(noise(70_000))
    os.truncate(J(at, b"hole-end"), 5000)
    os.truncate(J(at, b"hole-start"), (2 << 20) + 7)
    fd = os.open(J(at, b"hole-all"), os.O_WRONLY)
    os.pwrite(fd, b"data", 2 << 20)
    os.close(fd)
    # Holes where data was: fallocate(2) by number, as Python has no name for it.
    fd = os.open(J(at, b"large"), os.O_RDWR)
    punch(fd, 65536, 262144)
    os.close(fd)
    for index in range(len(MODES)):
        path = J(at, b"mode-%d" % index)
        set_owner(path)
        os.chmod(path, rng.choice(MODES))
    # A write takes capability and setuid away; here they are set again afterwards.
    path = J(at, b"attributes")
    if privileged:
        with open(path, "ab") as file:
            file.write(b"more")
        held = capability()
        attempt("capability", os.setxattr, path, b"security.capability", held)
        with open(path, "ab") as file:
            file.write(b"and more")
        attempt("capability", os.setxattr, path, b"security.capability", held)
        os.chown(path, *rng.choice(OWNERS))
        attempt("capability", os.setxattr, path, b"security.capability", held)
    attempt("user attribute", os.removexattr, path, b"user.plain")
    attempt("user attribute", os.setxattr, path, b"user.later", b"later")
    attempt("access ACL", os.setxattr, path, b"system.posix_acl_access", access_acl(8, 9))
    for index in range(len(TIMES)):
        set_times(J(at, b"time-%d" % index))
    os.utime(J(at, b"time-link"), ns=(9, rng.randrange(10**18)), follow_symlinks=False)
    for index in (0, 1, 2, 3):
        path = J(at, b"directory-%d" % index)
        os.chmod(path, 0o755)
        write(J(path, b"later"), noise(9))
        old, new = (b"inside", b"renamed") if phase == "live" else (b"renamed", b"inside")
        os.rename(J(path, old), J(path, new))
        os.chmod(path, rng.choice([0o555, 0o2555, 0o1777]))
        set_owner(path)
        set_times(path)
    inherits = J(at, b"inherits")
    attempt("default ACL", os.setxattr, inherits, b"system.posix_acl_default", access_acl(10, 11))
    os.mkdir(J(inherits, b"fresh-" + phase.encode()))
    os.mkdir(J(inherits, b"cleared-" + phase.encode()))
    for name in (b"system.posix_acl_access", b"system.posix_acl_default"):
        attempt("ACL", os.removexattr, J(inherits, b"cleared-" + phase.encode()), name)
    path = J(inherits, b"plain-" + phase.encode())
    write(path, b"p")
    attempt("ACL", os.removexattr, path, b"system.posix_acl_access")
    os.chmod(path, 0o604)


def change_kinds(at):
    kinds = [
        lambda path: write(path, noise(10)),
        lambda path: os.mkdir(path),
        lambda path: os.symlink(b"to", path),
        lambda path: os.mkfifo(path),
        lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
        lambda path: (os.mkdir(path), write(J(path, b"k"), b"k"), os.chmod(path, 0o555)),
    ]
    if privileged:
        kinds.append(lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(rng.randrange(1, 200), 5)))
    for name in [b"link", b"pipe", b"socket", b"empty", b"directory-4"] + NAMES[:4]:
        replace(J(at, name), rng.choice(kinds))
    replace(J(at, b"absolute"), lambda path: os.symlink(b"/elsewhere", path))
    if privileged:
        replace(J(at, b"character"), lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)))
        os.chown(J(at, b"absolute"), 77, 88, follow_symlinks=False)
        attempt("trusted attribute", os.setxattr, J(at, b"absolute"), b"trusted.l", b"l", follow_symlinks=False)


def change_links():
    a = J(root, b"a")
    replace(J(a, b"linked-" + phase.encode()), lambda path: os.link(J(root, b"hole-middle"), path))
    replace(J(a, b"file"), lambda path: os.link(J(root, b"file"), path))
    os.rename(J(a, b"large"), J(root, b"moved-" + phase.encode()))
    write(J(a, b"large"), noise(400_000))
    # One name of several becomes a file of its own, with the same content and time.
    path = J(root, b"mode-0" if privileged else b"mode-1")
    twin = J(a, b"twin-" + phase.encode())
    os.link(path, twin)
    with open(J(root, b"time-5"), "rb") as file:
        copy = file.read()
    replace(J(a, b"time-5"), lambda path: write(path, copy))


def punch(fd, at, length):
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.fallocate(fd, 3, ctypes.c_long(at), ctypes.c_long(length))
    if result != 0:
        refused["punch"] = True


def change_tree():
    for at in (root, J(root, b"a"), J(root, b"in\xff\n")):
        change_in_place(at)
        change_kinds(at)
    change_links()
    # A folder and all below it moves; two folders change places.
    os.rename(J(root, b"a", DEEP), J(root, b"-moved"))
    os.rename(J(root, b"-moved"), J(root, b"a", DEEP))
    pair = [J(root, b"directory-1"), J(root, b"a", b"directory-1")]
    for path in pair:
        os.chmod(path, 0o755)
    os.rename(pair[0], J(root, b"swap"))
    os.rename(pair[1], pair[0])
    os.rename(J(root, b"swap"), pair[1])
    for path in pair:
        os.chmod(path, rng.choice([0o555, 0o500]))
    stamp_directories()


os.umask(0)
{"seed": seed_tree, "live": change_tree, "offline": change_tree}[phase]()
for line in sorted(refused):
    print(line)

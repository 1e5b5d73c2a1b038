# What is out of date in this checkout? Sourced by ./lockstep (POSIX sh, on every start: it must
# stay a few milliseconds) and by tools/setup (bash). Expects $root, the checkout's absolute path.
#
# Each function succeeds when the named thing must be made again. A stamp carries the time at which
# the last good build *began*, so a source edited during a build is newer than its stamp.
# Directories count as sources: deleting or renaming a file changes only its directory's time.
# Requires: test -nt (dash, bash, busybox have it) and find -newer.

modules_stamp=$root/node_modules/.package-lock.json # npm writes it last, when all is in place
ts_stamp=$root/dist/.built
native_stamp=$root/build/native/.built

# newer_than STAMP PATH...: is there a source file or directory newer than the stamp?
# bench/results is output, not a source.
newer_than() {
  stamp=$1
  shift
  [ -e "$stamp" ] || return 0
  [ -n "$(find "$@" -name results -prune -o -newer "$stamp" -print -quit 2>/dev/null)" ]
}

modules_stale() {
  [ ! -e "$modules_stamp" ] || [ "$root/package-lock.json" -nt "$modules_stamp" ]
}

ts_stale() {
  [ ! -e "$root/dist/src/cli/main.js" ] || newer_than "$ts_stamp" "$root/src" "$root/test" \
    "$root/bench" "$root/tools" "$root/tsconfig.json" "$root/package-lock.json"
}

# The addon does not depend on npm packages other than the N-API headers, which are stable.
native_stale() {
  [ -e "$root/native/Makefile" ] && newer_than "$native_stamp" "$root/native"
}

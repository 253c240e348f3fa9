#!/bin/sh
# Runs a command whose temporary files are in memory, where that has room for them.
#
#     tests/in_memory.sh COMMAND [ARGUMENT ...]
#
# The tests make and remove files all the time. On a disk that is a quarter of the processor's time
# in those that write most (test_virtual_install, test_bundle_archive, test_board_store). The folder
# is removed where the command ends well; what a failed test wrote stays.
set -eu
place=/dev/shm
gigabytes=12

free=$(df --output=avail --block-size=1G "$place" 2>/dev/null | tail -n 1)
memory=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo 2>/dev/null || true)
# Programs are run from there, too: containers often forbid that.
if [ "${free:-0}" -lt "$gigabytes" ] || [ "${memory:-0}" -lt "$gigabytes" ] ||
  grep -q "^[^ ]* $place [^ ]* [^ ]*noexec" /proc/mounts; then
  exec "$@"
fi
TMPDIR=$(mktemp -d "$place/edgekit.XXXXXX")
export TMPDIR
"$@"
rm -rf "$TMPDIR"

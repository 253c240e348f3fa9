#!/bin/sh
# Brings the Debian packages that the tests need, where it may; otherwise says what to install.
# Runs apt only where something is missing.
set -eu
PATH=$PATH:/usr/sbin:/sbin # a user's PATH may lack where sshd is
missing=
need() { # PROGRAM PACKAGE...
  command -v "$1" >/dev/null 2>&1 && return
  shift
  missing="$missing $*"
}
need cc gcc libc6-dev                # the emulator's plugin, a clock that jumps
need g++ g++                         # PyTorch compiles its reference row
need unshare util-linux              # full disks
need mount mount
need pgrep procps                    # what a killed program left running
need ssh-keygen openssh-client
need sshd openssh-server             # the boards of the tests
need chromium chromium               # the report's page in a real browser
need chromedriver chromium-driver
"${PYTHON:-python3}" -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "The tests need what Debian calls$missing: install it, then run make test again." >&2
  exit 1
elif [ "$(id -u)" = 0 ]; then
  root=
elif sudo -n true 2>/dev/null; then
  root="sudo -n"
else
  echo "The tests need Debian's packages: run  sudo apt-get install$missing  and make test again." >&2
  exit 1
fi
echo "Installing what the tests need:$missing"
$root apt-get update -q || true # a list of somebody else that cannot be fetched does not matter
# shellcheck disable=SC2086 # words are meant to split
$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing

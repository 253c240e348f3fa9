"""A board that is not here: its real ARM programs on an emulated CPU, with no root and no board.

    apt.py           Debian's packages for any architecture, without touching the host's apt
    profile.py       what the board's kernel says of its CPU: /proc and /sys
    qemu.py          the emulator: the host's own, or fetched like the board's packages
    sysroot.py       an installed board: where it is in the user's cache, what it is made of
    install.py       builds and removes one
    guest.py         one program run in it, under a time and a memory limit
    crash.py         an illegal instruction, named
    counting.py      exact instructions per inference, by plugin.c in the emulator
    wheel_check.py   which locked and given wheels fit it, and which died there
    relock.py        writes locks anew: the user's own, or for maintainers ours

The locks and wheels themselves are in `runtimes/`; what an emulated board proves of an artifact
is in `emulation/`.

What this proves is `emulated`: that real ARM binaries load, what they answer and how many
instructions they need. The emulator's own seconds say nothing about a board and are never shown.
"""

"""A board that is not here: its real ARM programs on an emulated CPU, with no root and no board.

    apt.py           Debian's packages for any architecture, without touching the host's apt
    locks.py         which packages and wheels a board's system is made of, to the byte
    wheels.py        aarch64 wheels: fetched by pip, checked, unpacked
    board.py         what the board's kernel says of its CPU: /proc and /sys
    qemu.py          the emulator: the host's own, or fetched like the board's packages
    sysroot.py       install, list and remove: all of the above in the user's cache
    guest.py         one program run in it, under a time and a memory limit
    crash.py         an illegal instruction, named
    counting.py      exact instructions per inference, by plugin.c in the emulator
    oracle.py        which wheels fit a board, and why not
    verification.py  what the emulated board proves of an artifact

What this proves is `emulated`: that real ARM binaries load, what they answer and how many
instructions they need. The emulator's own seconds say nothing about a board and are never shown.
"""

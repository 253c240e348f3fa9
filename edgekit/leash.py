"""A process that ends when the one that started it does. Run as a program, it becomes another.

    python -I -S leash.py PARENT COMMAND ...

So `scratch.leashed` starts what must not outlive us. It is not Popen's preexec_fn: Python code
between fork and exec can hang where there are threads. It runs at each start, so it imports little.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG, _SIGKILL = 1, 9


def die_with(parent: int) -> None:
    """Ask Linux to kill this process when `parent`, which started it, ends, however that happens.

    Elsewhere than on Linux nothing is asked.
    """
    try:  # noqa: SIM105  # contextlib takes longer to import than the rest
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        pass
    if os.getppid() != parent:  # it died before it could be asked
        os._exit(1)


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])

"""`edgekit` and `python -m edgekit`; Ctrl-C during the imports ends it too."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Import the command line and run it.

    What is imported stays in use. Python does not look through it for garbage: that took a
    fifteenth of a command's start.
    """
    gc.disable()
    try:
        from edgekit.cli import main as run
    except KeyboardInterrupt:
        print("edgekit: interrupted; nothing was begun", file=sys.stderr)
        sys.exit(130)
    gc.freeze()
    gc.enable()
    run()


if __name__ == "__main__":
    main()

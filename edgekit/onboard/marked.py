"""The runner with a mark before and after each inference, for the counting plugin.

Runs on the emulated board beside runner.py: `python marked.py JOB.json`. The mark is the system
call getppid: it does nothing, costs nothing, and no runtime makes it.
"""

import os
import sys
from typing import Any

import runner  # type: ignore[import-not-found]


def marked(load: Any) -> Any:
    """Return a loader whose invoke function marks its beginning and end."""

    def load_marked(model: str, manifest: dict[str, Any], threads: int) -> Any:
        invoke = load(model, manifest, threads)

        def invoke_marked(tensor: Any) -> list[Any]:
            os.getppid()
            values: list[Any] = invoke(tensor)
            os.getppid()
            return values

        return invoke_marked

    return load_marked


if __name__ == "__main__":
    loaders = {name: marked(load) for name, load in runner.RUNTIMES.items()}
    raise SystemExit(runner.main(sys.argv[1:], loaders))

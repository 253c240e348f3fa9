"""Functions that the workers of test_scale_out.py run; a worker imports them by name."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from edgekit.artifact import load_artifact
from edgekit.errors import MissingPackage
from edgekit.evaluation.evaluate import EvaluateRequest
from edgekit.targets import load_target


@dataclass(frozen=True)
class Task:
    """A number, and the folder in which each attempt at it leaves a file named by its process."""

    folder: Path
    number: int


def square(task: Task) -> int:
    """Return the square; the first attempt at number 0 never ends, until it is killed."""
    first = not list(task.folder.glob(f"{task.number}.*"))
    (task.folder / f"{task.number}.{os.getpid()}").touch()
    while task.number == 0 and first:
        time.sleep(0.05)
    return task.number**2


def refuse(task: Task) -> int:
    """Raise an error of edgekit's whose message is not its argument."""
    (task.folder / f"{task.number}.{os.getpid()}").touch()
    raise MissingPackage("onnxruntime", "onnx")


def fail(task: Task) -> int:
    """Raise an error that nobody expects."""
    raise ZeroDivisionError(f"task {task.number}")


def request(converted: Path, labelled: Path, executor: str) -> EvaluateRequest:
    artifacts = tuple(load_artifact(converted / f"onnx-{p}") for p in ("fp32", "int8"))
    return EvaluateRequest(
        artifacts=artifacts,
        data=str(labelled),
        target=load_target("host"),
        workers=3,
        executor=executor,
    )

"""One trained PyTorch model in; proven, measured artifacts for small machines out.

    import edgekit

    edgekit.convert("multitask-cnn", "out/mtc", calibration="faces/")
    rows = edgekit.bench("out/mtc")

Importing this imports nothing else: each name of `__all__` is loaded when it is first asked for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.api import answer, bench, convert, emulate, evaluate
    from edgekit.artifact import Artifact, Manifest, find_artifacts, load_artifact
    from edgekit.conversion.pipeline import Conversion
    from edgekit.errors import EdgekitError, UserError
    from edgekit.evaluation.answer import Answer, Decision
    from edgekit.evaluation.evaluate import Evaluation
    from edgekit.measurement.comparison import Comparison, compare
    from edgekit.measurement.summary import summary_row
    from edgekit.records import EmulationRecord, Measurement
    from edgekit.report import Table, build_tables, write_report
    from edgekit.report.measured_rows import table
    from edgekit.results import load_measurement
    from edgekit.spec import InputSpec, ModelSpec, OutputSpec
    from edgekit.targets import Target, load_target
    from edgekit.version import __version__

# ONNX Runtime since 1.29 reports its use and the model's name and hashes to its maker by default.
# Here for every process that edgekit starts; runner.py says the same on a board.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_ROOMS = {
    "api": ("answer", "bench", "convert", "emulate", "evaluate"),
    "artifact": ("Artifact", "Manifest", "find_artifacts", "load_artifact"),
    "measurement.comparison": ("Comparison", "compare"),
    "errors": ("EdgekitError", "UserError"),
    "evaluation.evaluate": ("Evaluation",),
    "measurement.summary": ("summary_row",),
    "conversion.pipeline": ("Conversion",),
    "evaluation.answer": ("Answer", "Decision"),
    "report": ("Table", "build_tables", "write_report"),
    "report.measured_rows": ("table",),
    "records": ("EmulationRecord", "Measurement"),
    "results": ("load_measurement",),
    "spec": ("InputSpec", "ModelSpec", "OutputSpec"),
    "targets": ("Target", "load_target"),
    "version": ("__version__",),
}
"""Where each public name lives."""

__all__ = [
    "Answer",
    "Artifact",
    "Comparison",
    "Conversion",
    "Decision",
    "EdgekitError",
    "EmulationRecord",
    "Evaluation",
    "InputSpec",
    "Manifest",
    "Measurement",
    "ModelSpec",
    "OutputSpec",
    "Table",
    "Target",
    "UserError",
    "__version__",
    "answer",
    "bench",
    "build_tables",
    "compare",
    "convert",
    "emulate",
    "evaluate",
    "find_artifacts",
    "load_artifact",
    "load_measurement",
    "load_target",
    "summary_row",
    "table",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its room (PEP 562)."""
    from importlib import import_module

    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f"edgekit.{room}"), name)
    raise AttributeError(f"edgekit has no '{name}': see edgekit.__all__")


def __dir__() -> list[str]:
    return sorted(__all__)

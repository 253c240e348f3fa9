"""The table of runtimes against what must agree with it: the runner, the backends, the locks."""

from __future__ import annotations

import importlib
import json

import pytest

from edgekit.backends import load_backend, own_names, runtime_for
from edgekit.errors import UserError
from edgekit.onboard import runner
from edgekit.paths import ONBOARD, shelf
from edgekit.runtimes.table import (
    RUNTIMES,
    SUPPORT,
    deployed,
    environment_of,
    find_runtime,
    requirements,
    role_of,
    runtimes_of,
)


def test_the_runner_loads_what_the_table_says_and_nothing_else() -> None:
    """What a board must know stands in runner.py; the rest in the table."""
    onboard = [runtime for runtime in RUNTIMES if runtime.role != "reference"]
    assert list(runner.RUNTIMES) == [runtime.name for runtime in onboard]
    by_backend: dict[str, list[str]] = {}
    for runtime in onboard:
        by_backend.setdefault(runtime.backend, []).append(runtime.name)
    assert by_backend == runner.BACKEND_RUNTIMES


def test_the_profiler_asks_every_runtime_that_has_operators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ONBOARD)  # it imports the runner beside it, as on a board
    profiled = set(importlib.import_module("profiler").PROFILES)
    assert profiled == {runtime.name for runtime in RUNTIMES if runtime.operator_times}
    assert {runtime.name for runtime in RUNTIMES if runtime.profiled_by_cuts} < profiled


def test_a_backends_own_runtime_is_its_first_row() -> None:
    for name in own_names():
        assert runtimes_of(name)[0].name == load_backend(name).RUNTIME
    assert runtime_for("tflite", "tflite_runtime") == "tflite_runtime"
    assert runtime_for("onnx", "tflite_runtime") == "onnxruntime"
    with pytest.raises(UserError, match="did you mean tflite_runtime"):
        runtime_for("tflite", "tflite_runtim")


def test_the_runners_versions_are_asked_of_the_tables_distributions() -> None:
    """On a board runner.runtime_version has no table: it makes one name of the other.

    Reference runtimes run here, by a program that knows what else they are called.
    """
    importlib.import_module("edgekit.backends._torch_runtime")
    for runtime in RUNTIMES:
        own = {} if runtime.role == "deployed" else runner.DISTRIBUTIONS
        made = own.get(runtime.name, runtime.name.replace("_", "-"))
        assert runtime.distribution in {"", made}


@pytest.mark.parametrize(
    ("system", "without"), [("bookworm", set()), ("trixie", {"tflite_runtime"})]
)
def test_every_lock_has_every_deployed_runtime_in_its_environment(
    system: str, without: set[str]
) -> None:
    lock = json.loads((shelf("targets") / "locks" / f"{system}.json").read_text())
    there = {(wheel["name"], wheel["place"]) for wheel in lock["wheels"]}
    able = [runtime for runtime in deployed() if runtime.name not in without]
    for runtime in able:
        assert (runtime.distribution, runtime.environment) in there
    for environment in SUPPORT:
        wanted = requirements(environment, [runtime.name for runtime in able])
        names = {text.partition("=")[0].partition(">")[0] for text in wanted}
        assert names == {name for name, place in there if place == environment}


def test_what_is_no_row_is_a_plug_in_that_boards_may_have() -> None:
    assert find_runtime("matrix") is None
    assert (role_of("matrix"), environment_of("matrix")) == ("deployed", "main")
    assert (role_of("null"), role_of("torch")) == ("harness", "reference")
    assert environment_of("tflite_runtime") == "numpy1"

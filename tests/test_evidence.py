"""The evidence: every row sourced, bad rows refused, networks counted as they were published."""

from __future__ import annotations

import csv
import importlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgekit.errors import BadResults
from edgekit.latency_model import evidence
from edgekit.latency_model.analytic.observations import (
    SUPERSEDED,
    WINOGRAD,
    kernels_of,
    observations,
)
from edgekit.latency_model.operators import readers, workload_of
from edgekit.latency_model.workload import convolution

FOLDER = evidence.folder()
SCRIPTS = FOLDER.parent / "scripts"
Cycles = dict[tuple[str, str, int | None, int | None], list[float]]


@pytest.fixture(scope="module")
def networks() -> ModuleType:
    """The script that counts networks, as it is run."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        return importlib.import_module("networks")
    finally:
        sys.path.remove(str(SCRIPTS))


def test_every_row_names_its_source_and_filters_find_it() -> None:
    rows = evidence.load_rows()
    assert len(rows) == 1756
    assert all(row.source_repo and row.source_path for row in rows)
    some = evidence.load_rows(core="Cortex-A72", dtype="int8", threads=4, runtime="XNNPACK")
    assert {(row.board, row.model) for row in some} == {("Raspberry Pi 4B", "MobileNet v1 1.0X")}
    with pytest.raises(TypeError, match="colour"):
        evidence.load_rows(colour="red")


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("latency_ms", "nan", "above 0"),
        ("latency_ms", "0", "above 0"),
        ("latency_ms", "fast", "could not convert"),
        ("clock_mhz", "-1500", "above 0"),
        ("soc", "BCM2711", "no core"),
        ("dtype", "bf16", "not comparable"),
        ("batch", "8", "not comparable"),
        ("threads", "many", "invalid literal"),
        ("source_path", "", "no source"),
    ],
)
def test_a_row_that_is_no_latency_is_refused_with_its_line(
    tmp_path: Path, column: str, value: str, says: str
) -> None:
    with (FOLDER / "latency.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:5]
    rows[3][column] = value
    with (tmp_path / "latency.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(BadResults, match=rf"latency\.csv line 5: .*{says}"):
        evidence.load_rows(tmp_path)


def test_a_missing_table_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadResults, match=r"latency\.csv cannot be read"):
        evidence.load_rows(tmp_path)
    shutil.copy(FOLDER / "latency.csv", tmp_path)
    (tmp_path / "features.csv").write_text("model,runtime\nmobilenet,\n")
    with pytest.raises(BadResults, match=r"features\.csv line 2"):
        evidence.load_networks(tmp_path)


def test_the_traps_of_the_rows_are_heeded() -> None:
    rows = evidence.load_rows()
    seen = observations(rows, evidence.load_networks())
    own = {"runtime": "ncnn", "core": "Cortex-A76", "source_repo": "Tencent/ncnn"}
    assert {row.dtype for row in evidence.load_rows(None, **own)} == {"fp16", "int8"}
    tflite = [row for row in rows if row.runtime.startswith("TFLite")]
    assert {(row.runtime, row.core, kernels_of(row)) for row in tflite} == {
        ("TFLite (ruy)", "Cortex-A7", "ruy"),
        ("TFLite (ruy)", "Cortex-A53", "ruy"),
        ("TFLite (ruy)", "Cortex-A72", "ruy"),
        ("TFLite", "Cortex-A72", "eigen"),
        ("TFLite", "Cortex-A76", "xnnpack"),
        *(("TFLite (XNNPACK)", f"Cortex-A{core}", "xnnpack") for core in (7, 53, 72, 76)),
    }
    # Others call their ncnn rows fp32; the core computes them in fp16 as ncnn's own.
    on_pi5 = [row for row in seen if row.board == "Raspberry Pi 5" and row.group.kernels == "ncnn"]
    assert {row.group.dtype for row in on_pi5} == {"fp16", "int8"}
    unstated = {(row.runtime, row.threads) for row in seen if not row.threads_stated}
    assert ("TFLite", 1) in unstated
    assert ("ONNX Runtime", 4) in unstated
    assert {row.family for row in seen if row.runtime == "XNNPACK"} == {"mobilenet-v1"}
    # A detector is its backbone's family: left out with it, not predicted from it.
    assert {row.family for row in seen if row.model == "mobilenet_ssd"} == {"mobilenet-v1"}
    assert {row.family for row in seen if row.model == "EfficientDet-lite4"} == {"efficientnet"}


def test_rows_that_leave_much_open_count_less() -> None:
    rows = evidence.load_rows()
    trusts = {(row.runtime, row.model): row.trust for row in rows}
    assert trusts["ONNX Runtime", "YOLOX-S"] == evidence.DOUBTFUL, "a rate turned over"
    assert trusts["TFLite (XNNPACK)", "YOLOX-Tiny"] == 1, "a nominal clock is no doubt"
    assert all(row.trust < 1 for row in rows if row.threads is None)


def test_superseded_releases_took_half_as_long_again_and_no_fit_sees_them() -> None:
    """The rule that SUPERSEDED states, on the networks that both releases measured."""
    rows, networks = evidence.load_rows(), evidence.load_networks()

    def cycles(kernels: str, dtype: str, family: str | None, versions: Sequence[str]) -> Cycles:
        found: Cycles = {}
        for row in rows:
            network = evidence.network_of(row, networks)
            if network is None or (kernels_of(row), row.dtype) != (kernels, dtype):
                continue
            if row.runtime_version in versions and family in {None, network.family}:
                key = (row.board, row.model, row.threads, row.os_bits)
                found.setdefault(key, []).append(row.latency_ms * row.clock_mhz)
        return found

    for kernels, dtype, family, versions in SUPERSEDED:
        all_versions = {row.runtime_version for row in rows if kernels_of(row) == kernels}
        old = cycles(kernels, dtype, family, versions)
        new = cycles(kernels, dtype, family, sorted(all_versions - set(versions)))
        ratios = [np.mean(old[key]) / np.mean(new[key]) for key in set(old) & set(new)]
        assert ratios, kernels
        assert np.median(ratios) > 1.5, (kernels, dtype, np.median(ratios))
    int8 = {(row.runtime, row.runtime_version) for row in rows if row.dtype == "int8"}
    assert ("ncnn", "README@97b43944e") in int8
    releases = {row.release[0] for row in observations(rows, networks) if row.group.kind == "int8"}
    assert "ncnn README@97b43944e" not in releases


def test_rows_are_taken_in_by_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    take_in = importlib.import_module("take_in")
    with (FOLDER / "latency.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    (good,) = [
        row for row in rows
        if (row["runtime"], row["model"], row["threads"], row["board"], row["runtime_version"])
        == ("TFLite (XNNPACK)", "YOLOX-Tiny", "4", "Raspberry Pi 4B", "v2.5.0")
    ]  # fmt: skip
    assert take_in.why_not(good) is None
    wrong = {
        "not a Raspberry Pi": {"board": "Firefly RK3399"},
        "precision unstated": {"dtype": "unstated"},
        "kernels none of ours has": {"runtime": "PyTorch (QNNPACK)"},
        "input size unstated": {"input": "unstated", "model": "PicoDet-S"},
        "its own source calls it an outlier": {"notes": "the issue says OUTLIER"},
        "no published design to count": {"model": "MobileFaceNet"},
    }
    for reason, changed in wrong.items():
        assert take_in.why_not(good | changed) == reason


def test_networks_have_the_published_multiply_accumulates() -> None:
    with (FOLDER / "features.csv").open(newline="") as file:
        published = {
            (row["model"], row["runtime"]): float(row["published_macs_m"])
            for row in csv.DictReader(file)
        }
    for name, network in evidence.load_networks().items():
        assert network.workload.macs / 1e6 == pytest.approx(published[name], rel=0.02), name


def test_the_table_of_features_is_what_the_script_counts(networks: ModuleType) -> None:
    stored = evidence.load_networks()
    counted = {
        "mobilenet-v1-0.25-128-quantized": networks.mobilenet_v1(0.25, 128),
        "mobilenet-v2-1.4-224-quantized": networks.mobilenet_v2(1.4, 224),
        "efficientnet-lite4-quantized": networks.efficientnet_lite(4),
        "resnet18": networks.resnet18(),
        "vgg16": networks.vgg(2, 2, 3, 3, 3),
    }
    for name, net in counted.items():
        assert stored[name, ""].workload == net.workload, name


def test_a_convolution_is_known_by_its_shape() -> None:
    # 56×56 maps of 64 channels.
    numbers = 56 * 56 * 64

    def kind(area: int, group_inputs: int, groups: int) -> str:
        made = convolution(
            numbers, numbers, area=area, channels=64, group_inputs=group_inputs, groups=groups
        )
        assert made.macs == numbers * area * group_inputs
        assert made.patches == (56 * 56 * area * 64 if made.kind == "conv" else 0)
        return made.kind

    assert kind(9, 64, 1) == kind(9, 32, 2) == "conv"
    assert kind(1, 64, 1) == "pointwise"
    assert kind(9, 1, 64) == "depthwise"
    assert convolution(64, 10, area=1, channels=10, group_inputs=64, groups=1).kind == "dense"


def test_kernels_without_winograd_pay_one_price_for_convolutions() -> None:
    seen = observations(evidence.load_rows(model="resnet50"), evidence.load_networks())
    prices = {row.group.kernels: row.terms[0] for row in seen}
    assert prices["ncnn"] > 0
    assert all((price > 0) == (kernels in WINOGRAD) for kernels, price in prices.items())


@pytest.mark.slow
def test_every_backend_s_file_holds_the_same_network(converted: Path) -> None:
    from edgekit.artifact import find_artifacts

    found = [a for a in find_artifacts([converted]) if a.manifest.backend in readers()]
    works = {artifact.folder.name: workload_of(artifact) for artifact in found}
    assert len(works) == 8
    kinds = {
        (w.conv_macs, w.pointwise_macs, w.depthwise_macs, w.dense_macs, w.weights, w.dense_weights)
        for w in works.values()
    }
    assert len(kinds) == 1, works
    assert {w.macs for w in works.values()} == {found[0].manifest.source.macs}
    assert {w.unseen for w in works.values()} == {()}


def test_the_recorded_check_names_the_rows_it_is_of() -> None:
    recorded = json.loads((FOLDER / "check.json").read_text())
    assert recorded["evidence"] == evidence.fingerprint()

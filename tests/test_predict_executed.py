"""The executed predictor: known instructions, known cache patterns, and the evidence left out."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from arm_programs import MARK, program, run_program
from command_line import Cli

from edgekit.artifact import load_artifact
from edgekit.devices.emulator import counting
from edgekit.devices.emulator.counting import Block, Cache
from edgekit.devices.emulator.install import install
from edgekit.devices.emulator.profile import board_of
from edgekit.devices.emulator.sysroot import Sysroot, home
from edgekit.errors import BadTarget, UserError
from edgekit.files import sha256
from edgekit.latency_model import Prediction, Setting
from edgekit.latency_model.evidence import load_rows
from edgekit.latency_model.executed import run as executed
from edgekit.latency_model.executed.a64_classes import class_of
from edgekit.latency_model.executed.accuracy import ablation
from edgekit.latency_model.executed.coefficients import by_term, load
from edgekit.latency_model.executed.fit import (
    Sample,
    choose,
    counts_of,
    fit,
    left_out,
    load_samples,
)
from edgekit.latency_model.executed.issue_table import classes_of, core
from edgekit.latency_model.executed.model import FORMS, TERMS, columns, terms
from edgekit.latency_model.executed.predictor import open_predictor
from edgekit.latency_model.executed.run import Work, caches_of, work_of
from edgekit.latency_model.operators import workload_of
from edgekit.targets import load_target

# Words as an assembler writes them.
WORDS = (
    (0x4E22CC20, "fp_mul_q"),  # fmla v0.4s, v1.4s, v2.4s
    (0x4F821020, "fp_mul_q"),  # fmla v0.4s, v1.4s, v2.s[0]
    (0x2E22DC20, "fp_mul_d"),  # fmul v0.2s, v1.2s, v2.2s
    (0x4E22D420, "fp_add_q"),  # fadd v0.4s, v1.4s, v2.4s
    (0x0E628020, "int_mul_long_d"),  # smlal v0.4s, v1.4h, v2.4h
    (0x4E228020, "int_mul_long_q"),  # smlal2 v0.8h, v1.16b, v2.16b
    (0x0F522020, "int_mul_long_d"),  # smlal v0.4s, v1.4h, v2.h[1]
    (0x4E606820, "int_accumulate_q"),  # sadalp v0.4s, v1.8h
    (0x4E829420, "dot_q"),  # sdot v0.4s, v1.16b, v2.16b
    (0x4F82E020, "dot_q"),  # sdot v0.4s, v1.16b, v2.4b[0]
    (0x4E629C20, "int_mul_q"),  # mul v0.8h, v1.8h, v2.8h
    (0x6EA2B420, "int_mul_q"),  # sqrdmulh v0.4s, v1.4s, v2.4s
    (0x6E024020, "permute_q"),  # ext v0.16b, v1.16b, v2.16b, #8
    (0x4E823820, "zip_q"),  # zip1 v0.4s, v1.4s, v2.4s
    (0x4E040420, "permute_q"),  # dup v0.4s, v1.s[0]
    (0x4E040C20, "transfer"),  # dup v0.4s, w1
    (0x0E013C20, "transfer"),  # umov w0, v1.b[0]
    (0x0E614820, "shift_d"),  # sqxtn v0.4h, v1.4s
    (0x4F225420, "shift_q"),  # shl v0.4s, v1.4s, #2
    (0x4F000400, "int_alu_q"),  # movi v0.4s, #0
    (0x4E21D820, "fp_cvt_q"),  # scvtf v0.4s, v1.4s
    (0x6E22FC20, "fp_div_q"),  # fdiv v0.4s, v1.4s, v2.4s
    (0x1F020C20, "fp_mul_d"),  # fmadd s0, s1, s2, s3
    (0x3CC10400, "load_1q"),  # ldr q0, [x0], #16
    (0xFD400000, "load_1d"),  # ldr d0, [x0]
    (0x39400420, "load_1x"),  # ldrb w0, [x1, #1]
    (0xAD400400, "load_2q"),  # ldp q0, q1, [x0]
    (0xA8C107E0, "load_2x"),  # ldp x0, x1, [sp], #16
    (0x4CDF2800, "load_4q"),  # ld1 {v0.4s, v1.4s, v2.4s, v3.4s}, [x0], #64
    (0x0C407000, "load_1d"),  # ld1 {v0.8b}, [x0]
    (0x4D40C800, "load_lane"),  # ld1r {v0.4s}, [x0]
    (0x4C400800, "load_4q_interleaved"),  # ld4 {v0.4s, v1.4s, v2.4s, v3.4s}, [x0]
    (0x4C007800, "store_1q"),  # st1 {v0.4s}, [x0]
    (0xAD000400, "store_2q"),  # stp q0, q1, [x0]
    (0xB9000020, "store_1x"),  # str w0, [x1]
    (0xF9802000, "prefetch"),  # prfm pldl1keep, [x0, #64]
    (0x8B020020, "alu"),  # add x0, x1, x2
    (0x8B020C20, "alu_shift"),  # add x0, x1, x2, lsl #3
    (0x1B027C20, "multiply_w"),  # mul w0, w1, w2
    (0x9B020C20, "multiply_x"),  # madd x0, x1, x2, x3
    (0x1AC20C20, "divide"),  # sdiv w0, w1, w2
    (0x54FFFF81, "branch"),  # b.ne #-16
    (0xB4000080, "branch"),  # cbz x0, #16
    (0xD65F03C0, "branch"),  # ret
    (0xD503201F, "nop"),  # nop
)
FMLA, SMLAL, SADALP, LDP, STP = 0x4E22CC20, 0x0E628020, 0x4E606820, 0xAD400400, 0xAD000400
SUBS, BNE = 0xF1000442, 0x54FFFFC1

BIG = Cache(256 * 1024, 16)


def code(*words: int) -> bytes:
    return b"".join(word.to_bytes(4, "little") for word in words)


@pytest.mark.parametrize(("word", "name"), WORDS, ids=str)
def test_each_instruction_is_in_its_class(word: int, name: str) -> None:
    assert class_of(word) == name
    for known in ("cortex-a72", "cortex-a76"):
        if not (known == "cortex-a72" and name.startswith("dot")):  # it has none
            assert name in core(known).classes


@pytest.mark.parametrize(
    ("words", "a72", "a76"),
    [
        # One 128-bit multiply-add a cycle on an A72, two on an A76.
        ((FMLA,) * 8 + (SUBS, BNE), 8, 4),
        # Integer multiplies have one pipe on both, pairwise sums the other.
        ((SMLAL,) * 6 + (SADALP,) * 4, 6, 6),
        # A pair of 128-bit registers takes an A72's one load pipe two cycles.
        ((LDP,) * 4, 8, 4),
        ((STP,) * 2, 8, 4),
        # Nothing but the decoder: three a cycle, four a cycle.
        ((0xD503201F,) * 12, 4, 3),
    ],
)
def test_a_loop_takes_the_cycles_of_its_fullest_pipe(
    words: tuple[int, ...], a72: float, a76: float
) -> None:
    classes = classes_of(code(*words))
    assert core("cortex-a72").cycles(classes) == a72
    assert core("cortex-a76").cycles(classes) == a76


def test_work_adds_up_blocks_by_what_bounds_them() -> None:
    blocks = (
        Block(
            address=0,
            code=code(*(FMLA,) * 8),
            executions=10,
            fetched=(3, 2, 1),
            written_back=(2, 1, 0.5),
        ),
        Block(
            address=64,
            code=code(*(SMLAL,) * 6),
            executions=5,
            fetched=(1, 0, 0),
            written_back=(0, 0, 0),
        ),
        Block(
            address=128,
            code=code(SUBS, BNE),
            executions=3,
            fetched=(0, 0, 0),
            written_back=(0, 0, 0.5),
        ),
    )
    work = work_of(blocks, core("cortex-a72"))
    assert work == Work(
        instructions=116,
        float_cycles=80,
        integer_cycles=30,
        other_cycles=3,
        refilled=4,
        shared=2,
        memory=1,
        written_back=1,
    )


def test_threads_share_the_cycles_but_not_the_memory() -> None:
    work = Work(
        instructions=0,
        float_cycles=8e6,
        integer_cycles=0,
        other_cycles=0,
        refilled=1400,
        shared=1000,
        memory=600,
        written_back=100,
    )
    one, four = (dict(zip(TERMS, terms(work, 32, n, 1000), strict=True)) for n in (1, 4))
    assert one["float_cycles"] == pytest.approx(8e-3) == 4 * four["float_cycles"]
    assert one["memory_line"] == four["memory_line"] == pytest.approx(700e-9), "one memory"
    assert one["near_line"] == pytest.approx(800e-9) == 4 * four["near_line"], "a cache each"
    assert (one["crowded_line"], four["crowded_line"]) == (0, pytest.approx(525e-9))
    assert one["idle"] == one["converted"] == 0
    # 32 operators of 0.25 ms: half the root of 1 ms × 1 ms each, three threads of four.
    assert four["idle"] == pytest.approx(32 * 0.5e-3 * 3 / 4)
    assert terms(work, 32, 4, 2000)[0] == pytest.approx(1e-3), "the clock divides cycles only"


@pytest.mark.parametrize("form", FORMS)
def test_a_fit_finds_the_constants_that_made_its_rows_and_none_below_zero(form: str) -> None:
    known = load_samples("rpi4")
    matrix = columns(form)
    made = matrix @ np.linspace(1.1, 2.0, matrix.shape[1])
    rows = [exact(sample, float(sample.terms @ made)) for sample in known]
    assert fit(rows, form) == pytest.approx(made, abs=1e-2)
    slower = [exact(s, 3 * float(s.terms[:3].sum()) + 1e-6) for s in known]
    assert (fit(slower, form) >= 0).all()


def test_a_slow_runtime_does_not_bend_what_the_others_cost() -> None:
    """It is 1.3 times as slow. Without a level of its own it would have lines cost 1.5 times as
    much, other blocks 0.8 times and idling a third."""
    made = columns("own and rest") @ np.array([1.2, 1.3, 2.2, 13.0, 0.1, 0.3, 30.0])
    rows = [
        exact(s, float(s.terms @ made) * (1.3 if s.kernels == "ncnn" else 1.0))
        for s in load_samples("rpi4")
    ]
    found = by_term(fit(rows, "own and rest"))
    for name, value in by_term(made).items():
        if value and name != "packed":
            assert 1.0 < found[name] / value < 1.25, name


def test_two_submissions_of_a_release_are_two_places() -> None:
    known = [s for s in load_samples("rpi4") if s.row.runtime_version == "v2.7.1"]
    repositories = {sample.row.source_repo for sample in known}
    assert len(repositories) == 2
    for sample in known:
        mine = {other.row.source_repo for other in known if other.place == sample.place}
        assert mine == {sample.row.source_repo}


def test_only_ruy_packs_weights_in_each_inference() -> None:
    at = list(TERMS).index("packed")
    known = load_samples("rpi4")
    packing = {(s.kernels, s.row.dtype) for s in known if s.terms[at] > 0}
    assert packing == {("ruy", "fp32")}
    one = next(s for s in known if s.row.model == "mobilenet-v1-1.0-224-non-quantized")
    assert one.terms[at] == pytest.approx(3.2e6 * 4 * 3 / 4 * 1e-9, rel=0.05), "four threads"


def test_blocks_of_other_arithmetic_are_a_network_s_minor_ones() -> None:
    floats, integers = (
        dict(
            zip(
                TERMS,
                terms(
                    Work(
                        instructions=0,
                        float_cycles=f,
                        integer_cycles=i,
                        other_cycles=4e6,
                        refilled=0,
                        shared=0,
                        memory=0,
                        written_back=0,
                    ),
                    1,
                    1,
                    1000,
                ),
                strict=True,
            )
        )
        for f, i in ((9e6, 1e6), (1e6, 9e6))
    )
    assert floats["float_cycles"] == integers["integer_cycles"] == pytest.approx(9e-3)
    assert floats["minor_integer_cycles"] == integers["minor_float_cycles"] == pytest.approx(1e-3)
    assert floats["integer_cycles"] == integers["minor_integer_cycles"] == 0
    assert floats["other_cycles"] == integers["other_cycles"] == pytest.approx(4e-3)


def test_a_form_is_chosen_by_other_families_alone() -> None:
    """A family that is ten times as slow changes no prediction of its own."""
    known = load_samples("rpi5")
    slow = [exact(s, 10 * s.seconds) if s.family == "squeezenet" else s for s in known]
    mine = [at for at, sample in enumerate(known) if sample.family == "squeezenet"]
    assert left_out(slow)[mine] == pytest.approx(left_out(known)[mine])


def exact(sample: Sample, seconds: float) -> Sample:
    """Return the sample as if that had been measured."""
    return replace(sample, row=replace(sample.row, latency_ms=seconds * 1e3))


def test_every_counted_run_explains_rows_of_the_evidence() -> None:
    known = load_samples("rpi4")
    assert {sample.kernels for sample in known} == {"litert", "ncnn", "ruy", "xnnpack"}
    assert all(sample.row.board == "Raspberry Pi 4B" for sample in known)
    assert {s.row for s in known} <= set(load_rows())


def test_each_part_of_the_model_earns_its_place() -> None:
    errors = ablation(load_samples("rpi4"))
    assert list(errors.values()) == sorted(errors.values(), reverse=True)


def test_the_shipped_constants_are_what_the_counts_give() -> None:
    for board in load(open_predictor_path()).boards:
        known = load_samples(board.board)
        assert board.form == choose(known)
        assert board.constants == pytest.approx(by_term(fit(known, board.form)), rel=1e-3)
        assert board.counts == sha256(counts_of(board.board)), "counted anew: fit again"


def test_what_anchors_are_worth_is_said_with_the_error_without_them() -> None:
    boards = {board.board: board for board in load(open_predictor_path()).boards}
    for kind in ("float", "int8"):
        mine = [each for each in boards["rpi4"].anchored if each.kind == kind]
        assert [each.anchors for each in mine] == [1, 2, 5]
        assert mine[2].mape < mine[2].unanchored, "five anchors help on a Pi 4"
        assert all(0 <= each.share <= 1 and each.narrower > 0 for each in mine)


def test_damaged_constants_are_one_line(tmp_path: Path) -> None:
    good = json.loads(open_predictor_path().read_text())
    good["boards"][0]["constants"]["memory_line"] = -1
    damaged = tmp_path / "executed.json"
    damaged.write_text(json.dumps(good))
    with pytest.raises(UserError, match=r"is damaged \(rpi3 has a constant that is no cost\)"):
        load(damaged)
    damaged.write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        load(damaged)


def open_predictor_path() -> Path:
    from edgekit.latency_model.evidence import folder
    from edgekit.latency_model.executed.predictor import FILE

    return folder() / FILE


def test_a_board_without_constants_or_tables_is_refused(tmp_path: Path) -> None:
    rpi4 = load_target("rpi4")
    known = rpi4.hardware.core
    assert known is not None
    assert rpi4.emulation is not None
    other = replace(rpi4, hardware=replace(rpi4.hardware, core=replace(known, value="Cortex-A55")))
    with pytest.raises(UserError, match=r"knows only Cortex-A53, Cortex-A72.*use analytic"):
        open_predictor().predict(
            None,  # type: ignore[arg-type]
            Setting(target=other, runtime="ai_edge_litert", threads=1, clock_mhz=1200),
        )
    strange = replace(rpi4, emulation=replace(rpi4.emulation, qemu_cpu="cortex-a55"))
    with pytest.raises(BadTarget, match="no issue table for the core cortex-a55"):
        caches_of(strange)


def test_a_share_of_the_pi_4s_cache_is_a_quarter_and_the_pi_5s_is_its_own() -> None:
    sizes = [cache.bytes // 1024 for cache in caches_of(load_target("rpi4"))]
    assert sizes == [32, 256, 1024]
    assert [cache.bytes // 1024 for cache in caches_of(load_target("rpi5"))] == [64, 512, 2048]
    assert [cache.bytes // 1024 for cache in caches_of(load_target("rpi3"))] == [32, 128, 512]


def test_counts_that_ship_need_no_emulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By operators and precision: another artifact of the same network finds them too."""
    from priced_models import onnx_artifact

    monkeypatch.setattr(executed, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(executed, "folder", lambda: tmp_path)
    monkeypatch.setattr(executed, "installed", None)
    target = load_target("rpi4")
    first = onnx_artifact(tmp_path / "a", "one", (8, 16))
    same = onnx_artifact(tmp_path / "b", "two", (8, 16))
    wider = onnx_artifact(tmp_path / "c", "three", (8, 32))
    work = Work(
        instructions=1,
        float_cycles=2,
        integer_cycles=3,
        other_cycles=4,
        refilled=5,
        shared=6,
        memory=7,
        written_back=8,
    )
    key = executed.shipped_key(target, first, "onnxruntime")
    shipped = tmp_path / executed.SHIPPED
    shipped.parent.mkdir()
    shipped.write_text(json.dumps({"counts": {key: {"of": "a", "work": asdict(work)}}}))
    assert executed.executed(target, same, "onnxruntime") == work
    assert executed.why_not(target, same, "onnxruntime") is None
    assert executed.known(target, wider, "onnxruntime") is None
    assert executed.known(load_target("rpi5"), same, "onnxruntime") is None
    assert executed.known(load_target("rpi4-trixie"), same, "onnxruntime") == work
    # int8 that keeps more in float executes something else, and its work is the same.
    rounded = onnx_artifact(tmp_path / "d", "four", (8, 16), last="QuantizeLinear")
    plain = onnx_artifact(tmp_path / "e", "five", (8, 16), last="Identity")
    assert workload_of(rounded) == workload_of(plain) == workload_of(first)
    assert executed.shipped_key(target, plain, "onnxruntime") == key
    assert executed.known(target, rounded, "onnxruntime") is None


def test_common_networks_are_predicted_without_an_emulator(
    cli: Cli, converted: Path, tmp_path: Path
) -> None:
    """By the counts that ship: these artifacts have other files than those that were counted."""
    files = [converted / name for name in ("onnx-fp32", "onnx-int8", "tflite-fp32", "tflite-int8")]
    for board in ("rpi4", "rpi5"):
        ask = ("predict-latency", *files, "--target", board, "--threads", "1", "--json")
        done = cli(*ask, "--method", "executed", XDG_CACHE_HOME=str(tmp_path / "empty"))
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)["rows"]
        assert [row["method"] for row in rows] == ["executed"] * len(files)
        assert not (tmp_path / "empty" / "edgekit" / "virtual").exists()
        # Without the option too, since nothing has to be run.
        told = json.loads(cli(*ask, XDG_CACHE_HOME=str(tmp_path / "empty")).stdout)["rows"]
        assert told == rows


# On the emulated board


@pytest.fixture(scope="module")
def rpi4() -> Sysroot:
    return install(board_of(load_target("rpi4")))


# sub x1, sp, #65536; mov x2, #1024; then ldr or str x3, [x1], #64; subs x2, x2, #1; b.ne #-8
LINES = 1024
SWEEP = {
    "load": (0xD14043E1, 0xD2808002, 0xF8440423, SUBS, BNE),
    "store": (0xD14043E1, 0xD2808002, 0xF8040423, SUBS, BNE),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sweep", "caches", "fetched", "written_back"),
    [
        # 64 KB round and round through 32 KB: least recently used means that none is ever there.
        ("load", (Cache(32 * 1024, 2), BIG), (LINES, 0), (0, 0)),
        ("load", (Cache(128 * 1024, 4), BIG), (0, 0), (0, 0)),
        ("store", (Cache(32 * 1024, 2), BIG), (LINES, 0), (LINES, 0)),
        ("store", (Cache(16 * 1024, 4), Cache(32 * 1024, 8)), (LINES, LINES), (LINES, LINES)),
    ],
)
def test_the_caches_see_a_sweep_as_reasoning_says(
    rpi4: Sysroot,
    tmp_path: Path,
    sweep: str,
    caches: tuple[Cache, ...],
    fetched: tuple[int, ...],
    written_back: tuple[int, ...],
) -> None:
    elf, blocks = tmp_path / "sweep", tmp_path / "blocks"
    elf.write_bytes(program(*(*MARK, *SWEEP[sweep], *MARK) * 3))
    elf.chmod(0o755)
    plugin = counting.plugin(rpi4.qemu, home() / "plugin")
    options = counting.options(plugin, tmp_path / "counts", blocks, caches)
    assert run_program(rpi4, "cortex-a72", elf, *options) == 0
    found = counting.read_blocks(blocks, 2)
    for level in range(2):
        assert sum(block.fetched[level] for block in found) == fetched[level]
        assert sum(block.written_back[level] for block in found) == written_back[level]


@pytest.mark.slow
@pytest.mark.parametrize(("first", "rounds"), [(True, 1), (False, 0)])
def test_one_inference_is_counted_from_empty_caches_where_that_is_asked(
    rpi4: Sysroot, tmp_path: Path, first: bool, rounds: int
) -> None:
    elf, blocks = tmp_path / "sweep", tmp_path / "blocks"
    elf.write_bytes(program(*MARK, *SWEEP["load"], *MARK))
    elf.chmod(0o755)
    plugin = counting.plugin(rpi4.qemu, home() / "plugin")
    caches = (Cache(3 * 32 * 1024, 2), BIG)  # sets that are no power of two
    options = counting.options(plugin, tmp_path / "counts", blocks, caches, first=first)
    assert run_program(rpi4, "cortex-a72", elf, *options) == 0
    found = counting.read_blocks(blocks, 1)
    assert max((block.executions for block in found), default=0) == rounds * (LINES - 1)
    assert sum(block.fetched[0] for block in found) == rounds * LINES


@pytest.mark.slow
def test_caches_that_cannot_be_made_stop_the_run(rpi4: Sysroot, tmp_path: Path) -> None:
    elf = tmp_path / "nothing"
    elf.write_bytes(program(*MARK))
    elf.chmod(0o755)
    plugin = counting.plugin(rpi4.qemu, home() / "plugin")
    options = counting.options(plugin, tmp_path / "counts", None, (Cache(0, 2),))
    assert run_program(rpi4, "cortex-a72", elf, *options) != 0


@pytest.mark.slow
def test_an_artifact_is_run_once_and_timed_for_any_threads_and_clock(
    rpi4: Sysroot, converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executed, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(executed, "SHIPPED", Path("nothing.json"))  # this network's count ships
    target, artifact = load_target("rpi4"), load_artifact(converted / "tflite-int8")
    predictor = open_predictor()

    def predicted(threads: int, clock_mhz: float) -> Prediction:
        return predictor.predict(
            artifact,
            Setting(target=target, runtime="ai_edge_litert", threads=threads, clock_mhz=clock_mhz),
        )

    one = predicted(1, 1500)
    (kept,) = (tmp_path / "executed").iterdir()
    work = Work(**json.loads(kept.read_text()))
    assert 15e6 < work.instructions < 20e6 and work.integer_cycles > work.float_cycles
    assert one.method == "executed" and one.low < one.seconds < one.high
    assert not one.calibrated and "its rows are of an older release" in one.why

    monkeypatch.setattr(executed, "VirtualDevice", None)
    four, faster, two = predicted(4, 1500), predicted(1, 1800), predicted(2, 1500)
    assert four.seconds < two.seconds < one.seconds < 4 * four.seconds
    assert one.seconds / 1.2 < faster.seconds < one.seconds, "memory keeps its own pace"
    assert not two.calibrated and "litert int8 rows were missed by" in two.why

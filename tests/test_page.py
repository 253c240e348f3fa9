"""The report's page in a real browser, opened from disk; its contrast and bytes without one."""

from __future__ import annotations

import os
import re
import runpy
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from records import a_measurement, a_prediction, an_accuracy, an_emulation
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys
from typer.testing import CliRunner

from edgekit.artifact import Precision
from edgekit.cli import app
from edgekit.recommend.summary import summarise
from edgekit.records import AnyRecord, Confusion, Measurement, record_key
from edgekit.report.page import html_page
from edgekit.report.plots import MOST, save_plots, sections
from edgekit.report.plots.confusion import SHADE
from edgekit.report.record_details import details
from edgekit.report.records import load_saved
from edgekit.report.theme import DARK, LIGHT, contrast
from edgekit.results import save

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks" / "records"
HOSTILE = "<script>alert(1)</script>"
FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)


def hot(measurement: Measurement) -> Measurement:
    """Return it as a board would have told it: heat and clock move, one round was throttled."""
    rounds = tuple(
        replace(
            item,
            temperature_c=(50.0 + 8 * number, 60.0 + 8 * number),
            clock_mhz=(1500.0, 1500.0 - 200 * number),
            throttled=("0x0", "0x4" if number == 2 else "0x0"),
        )
        for number, item in enumerate(measurement.rounds)
    )
    return replace(measurement, rounds=rounds)


def named(model: str, backend: str, median_ms: float, size: int = 3_500_000) -> Measurement:
    made = a_measurement(model, median_ms, backend)
    return replace(made, artifact=replace(made.artifact, bytes=size))


def everything() -> list[AnyRecord]:
    """Return records of each kind: a front, heat, a failure, hostile and foreign names."""
    confusion = Confusion("age", ("young", "old"), ((40, 10), (5, 45)))
    failed = replace(a_measurement().artifact, backend="tflite")
    return [
        a_measurement(),
        hot(named("multitask-cnn:classification", "tflite", 1.5, 1_000_000)),
        named("multitask-cnn:classification", "openvino", 12.0, 900_000),
        named(HOSTILE, "onnx", 3.0),
        named("модель-年齢-é", "onnx", 4.0),
        an_accuracy(confusion=(confusion,)),
        an_accuracy(backend="onnx", artifact="a" * 64, age_accuracy=60.5),
        an_accuracy(model=HOSTILE, confusion=(confusion,)),
        an_emulation(),
        an_emulation(
            artifact=failed, failure="Illegal instruction", instructions_per_inference=None
        ),
        a_prediction(),
    ]


def saved_in(folder: Path, records: list[AnyRecord]) -> Path:
    for record in records:
        save(record, folder)
    return folder


def write_page(results: Path, file: Path) -> str:
    done = CliRunner().invoke(app, ["report", "--results", str(results), "--html", str(file)])
    assert done.exit_code == 0, done.output
    return file.read_text()


class Page:
    """One browser, and what the tests ask of the page it has open."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, file: Path, width: int = 1280, scheme: str = "light") -> None:
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        self.driver.get(file.as_uri())

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)  # type: ignore[no-untyped-call]

    def unfold(self) -> None:
        """Open every part that a click would open."""
        self.run("for (const part of document.querySelectorAll('details')) part.open = true")

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def check_silent(self) -> None:
        """Assert that nothing was logged and nothing but the file was asked for."""
        assert self.driver.get_log("browser") == []  # type: ignore[no-untyped-call]
        asked = self.run("return performance.getEntries().map(e => e.name)")
        assert [name for name in asked if ":" in name and not name.startswith("file://")] == []
        assert self.run("return performance.getEntriesByType('resource').length") == 0


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium's sandbox does not run as root
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('browser')}")
    # Both by path: selenium would otherwise look for them on the network.
    options.binary_location = shutil.which("chromium") or "Debian's package chromium is missing"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver_path = shutil.which("chromedriver") or "Debian's package chromium-driver is missing"
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    yield Page(driver)
    driver.quit()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of `everything`."""
    folder = tmp_path_factory.mktemp("everything")
    write_page(saved_in(folder / "results", everything()), folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of the measurements that ship with edgekit."""
    file = tmp_path_factory.mktemp("benchmarks") / "report.html"
    write_page(BENCHMARKS, file)
    return file


def six_artifacts() -> list[AnyRecord]:
    """Return what `bench` and `evaluate` save of the six artifacts of one model."""
    confusion = Confusion("age", ("young", "old"), ((40, 10), (5, 45)))
    records: list[AnyRecord] = []
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    pairs = [(b, p) for b in ("onnx", "tflite", "openvino") for p in precisions]
    for place, (backend, precision) in enumerate(pairs):
        made = a_measurement("multitask-cnn:classification", 1.0 + place, backend, precision)
        facts = replace(made.artifact, sha256=f"{place}" * 64, bytes=3_500_000 - 400_000 * place)
        records.append(replace(made, artifact=facts))
        records.append(
            an_accuracy(
                backend=backend,
                precision=precision,
                artifact=facts.sha256,
                age_accuracy=70.0 - place,
                age_accuracy_low=66.0 - place,
                age_accuracy_high=73.0 - place,
                gender_accuracy=93.0 - place,
                gender_accuracy_low=92.0 - place,
                gender_accuracy_high=94.0 - place,
                confusion=(confusion,),
            )
        )
    return records


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("six")
    write_page(saved_in(folder / "results", six_artifacts()), folder / "report.html")
    return folder / "report.html"


def test_six_artifacts_take_four_screens_and_the_answer_is_on_top(page: Page, six: Path) -> None:
    page.open(six)
    assert page.run("return document.documentElement.scrollHeight") <= 4 * 900
    first = page.find("main > section")
    assert first.text.splitlines()[1].startswith("Ship ")
    assert page.run("return arguments[0].getBoundingClientRect().bottom", first) < 300
    last_row = page.find(".answers tbody tr:last-child")
    assert page.run("return arguments[0].getBoundingClientRect().bottom", last_row) < 900


@pytest.mark.parametrize("width", [400, 1280])
def test_every_column_of_the_answer_is_seen_without_scrolling_sideways(
    page: Page, six: Path, width: int
) -> None:
    page.open(six, width)
    cells = page.driver.find_elements("css selector", ".answers tbody td")
    assert len(cells) == 6 * 8
    seen = page.run(
        "return arguments[0].map((e) => [e.getBoundingClientRect(), e.innerText.trim()])"
        ".map(([box, text]) => [box.left, box.right, text])",
        cells,
    )
    assert all(left >= 0 and right <= width and text for left, right, text in seen)
    names = {cell.get_attribute("data-column") for cell in cells}
    assert {"artifact", "p50, ms", "size", "memory", "age, %", "gender, %", "result"} < names


@pytest.mark.parametrize("table", [".answers", "#artifacts"])
def test_the_header_of_a_table_stays(page: Page, six: Path, table: str) -> None:
    page.open(six)
    page.unfold()
    if table == "#artifacts":  # a table that scrolls within its own box, made low enough to scroll
        page.run("document.querySelector('#artifacts').parentElement.style.maxHeight = '9rem'")
        page.run("document.querySelector('#artifacts').parentElement.scrollTop = 90")
        top = page.run(
            "return document.querySelector('#artifacts').parentElement.getBoundingClientRect().top"
        )
    else:
        page.run("document.querySelector('.answers tbody tr:nth-child(4)').scrollIntoView()")
        top = 0
    box = page.run(f"return document.querySelector('{table} th').getBoundingClientRect()")
    row = page.run(f"return document.querySelector('{table} tbody tr').getBoundingClientRect()")
    assert row["top"] < top, "the first row has gone out of sight"
    assert abs(box["top"] - top) <= 2, "and its header has not"


def test_a_row_of_the_answer_leads_to_its_record(page: Page, six: Path) -> None:
    page.open(six)
    link = page.find(".answers tbody tr [data-record]")
    assert link.text == "onnx-fp32"
    link.click()
    assert page.find("dialog").is_displayed()
    assert "sha-256" in page.find("dialog").text.lower()


def test_the_picture_in_the_readme_shows_the_page_as_it_is() -> None:
    script = ROOT / "docs" / "write_report_picture.py"
    with Image.open(ROOT / "docs" / "report.png") as picture:
        assert picture.text["page"] == runpy.run_path(str(script))["digest"](), (  # type: ignore[attr-defined]
            "docs/report.png is old: run python docs/write_report_picture.py"
        )


@pytest.mark.unmeasured
def test_many_tables_are_folded_after_the_first(page: Page, benchmarks: Path) -> None:
    page.open(benchmarks, 1280)
    shown = page.driver.find_elements("css selector", ".answers")
    assert [table.is_displayed() for table in shown] == [True] * 4 + [False] * (len(shown) - 4)
    page.find("details.rest > summary").click()
    assert shown[-1].is_displayed()


@pytest.mark.unmeasured
def test_making_the_page_is_told_on_standard_error(tmp_path: Path) -> None:
    results = saved_in(tmp_path / "results", six_artifacts())
    asked = ["report", "--results", str(results), "--html", str(tmp_path / "report.html")]
    done = CliRunner().invoke(app, asked)
    said = done.stderr.splitlines()
    assert "plots: drawing latency against size" in said
    assert "page: adding latency against accuracy" in said and said[-1] == "page: done"
    assert "drawing" not in done.stdout
    quiet = CliRunner().invoke(app, [*asked, "--quiet"])
    assert quiet.stderr == ""


OVERLAPS = """
const found = [];
const check = (elements) => {
  const boxes = elements.map((e) => [e, e.getBoundingClientRect()]);
  boxes.forEach(([one, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 1 && high > 1)
      found.push([one, other].map((e) => e.outerHTML.slice(0, 60)).join(" / "));
  }));
};
const parents = "body, main, section, details, figure, .plots, .drawn, .words, .answers tr";
for (const parent of document.querySelectorAll(parents))
  check([...parent.children].filter((e) => e.getClientRects().length));
return found;
"""

CUT = """
const found = [];
for (const plot of document.querySelectorAll("svg.plot")) {
  const whole = plot.getBoundingClientRect();
  const words = [...plot.querySelectorAll("text")];
  for (const word of words) {
    const box = word.getBoundingClientRect();
    if (box.left < whole.left - 1 || box.right > whole.right + 1 || box.top < whole.top - 1
        || box.bottom > whole.bottom + 1)
      found.push(`${plot.getAttribute("aria-label").slice(0, 60)}: ${word.textContent}`);
  }
}
return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("which", ["made", "benchmarks"])
def test_nothing_overlaps_overflows_or_is_cut(
    page: Page, request: pytest.FixtureRequest, which: str, width: int, scheme: str
) -> None:
    page.open(request.getfixturevalue(which), width, scheme)
    assert page.run("return innerWidth") == width
    assert page.run("return [...document.querySelectorAll('svg.plot')].length") > 4
    for unfolded in (False, True):
        if unfolded:
            page.unfold()
        assert page.run("return document.documentElement.scrollWidth") <= width
        assert page.run(OVERLAPS) == []
        assert page.run(CUT) == []
    theme = LIGHT if scheme == "light" else DARK
    paper = tuple(int(theme["paper"][at : at + 2], 16) for at in (1, 3, 5))
    assert page.run("return getComputedStyle(document.body).backgroundColor") == f"rgb{paper}"
    page.check_silent()


def column(page: Page, table: str, name: str) -> list[str]:
    """Return a column's values as they are sorted, top to bottom."""
    return page.run(  # type: ignore[no-any-return]
        "const table = document.getElementById(arguments[0]);"
        "const place = [...table.tHead.rows[0].cells].findIndex("
        "  (cell) => cell.textContent.trim() === arguments[1]);"
        "return [...table.tBodies[0].rows].map((row) => row.cells[place].dataset.order);",
        table,
        name,
    )


def head(page: Page, table: str, name: str) -> Any:
    return page.driver.find_element(
        "xpath", f"//table[@id='{table}']//th[button[normalize-space()='{name}']]"
    )


def test_a_click_sorts_numbers_as_numbers_and_unknown_last(page: Page, made: Path) -> None:
    page.open(made)
    page.unfold()
    before = column(page, "artifacts", "p50 ms")
    known = sorted((value for value in before if value), key=float)
    unknown = [""] * before.count("")
    assert unknown and before[: len(known)] != known
    cell = head(page, "artifacts", "p50 ms")
    cell.find_element("tag name", "button").click()
    assert cell.get_attribute("aria-sort") == "ascending"
    assert column(page, "artifacts", "p50 ms") == known + unknown
    cell.find_element("tag name", "button").click()
    assert cell.get_attribute("aria-sort") == "descending"
    assert column(page, "artifacts", "p50 ms") == known[::-1] + unknown
    page.check_silent()


def test_the_keyboard_sorts_opens_and_closes(page: Page, made: Path) -> None:
    page.open(made)
    page.unfold()
    cell = head(page, "artifacts", "backend")
    cell.find_element("tag name", "button").send_keys(Keys.ENTER)
    assert cell.get_attribute("aria-sort") == "ascending"
    backends = column(page, "artifacts", "backend")
    assert backends == sorted(backends)
    page.find("#artifacts [data-record]").send_keys(Keys.ENTER)
    assert page.find("dialog").is_displayed()
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not page.find("dialog").is_displayed()
    reached = page.run("return document.activeElement.dataset.record")
    assert reached, "the focus is back where it was"


def test_source_and_a_mark_lead_to_the_raw_file(page: Page, made: Path) -> None:
    page.open(made)
    page.unfold()
    saved = load_saved(made.parent / "results")
    known = details(saved, made.parent / "results")
    for selector in ("#artifacts [data-record]", "svg.plot .point[data-record]"):
        link = page.find(selector)
        page.run("arguments[0].scrollIntoView({block: 'center'})", link)
        webdriver.ActionChains(page.driver).move_to_element(link).click().perform()
        panel = page.find("dialog")
        assert panel.is_displayed()
        shown = known[page.find("#panel-title").text]
        assert shown.sources[0].path in panel.text and shown.sources[0].sha256 in panel.text
        assert (made.parent / "results" / shown.sources[0].path).is_file()
        page.find("dialog button").click()
        assert not panel.is_displayed()
    page.check_silent()


def test_every_row_of_ours_has_a_source_and_every_record_is_there(page: Page, made: Path) -> None:
    page.open(made)
    page.unfold()
    saved = load_saved(made.parent / "results")
    records = page.run("return [...document.querySelectorAll('.record')].map(r => r.dataset.key)")
    kinds = (saved.measurements, saved.accuracy, saved.emulations, saved.predictions)
    ours: list[AnyRecord] = [record for kind in kinds for record in kind]
    assert sorted(records) == sorted(map(record_key, ours))
    rows = page.driver.find_elements("css selector", "#artifacts tbody tr")
    assert len(rows) == len(saved.measurements) + len(saved.emulations)
    assert all(row.find_elements("css selector", "[data-record]") for row in rows)
    predicted = page.find("#table-3-latency-predicted tbody tr")
    assert predicted.find_element("css selector", "[data-record]").is_displayed()
    assert predicted.find_element("css selector", ".badge.predicted").is_displayed()


def test_all_columns_come_when_asked_for(page: Page, made: Path) -> None:
    page.open(made)
    page.unfold()
    extra = page.find("#artifacts th.extra")
    assert not extra.is_displayed()
    page.find("[data-all=artifacts]").click()
    assert extra.is_displayed()
    page.find("[data-all=artifacts]").click()
    assert not extra.is_displayed()


def test_every_plot_has_its_words_and_numbers(page: Page, made: Path) -> None:
    page.open(made)
    page.unfold()
    figures = page.driver.find_elements("tag name", "figure")
    titles = " ".join(f.find_element("tag name", "figcaption").text for f in figures)
    assert "Size against latency" in titles and "Age accuracy against latency" in titles
    for figure in figures:
        plot = figure.find_element("css selector", "svg.plot[role=img]")
        assert len(plot.get_attribute("aria-label") or "") > 40
        assert figure.find_elements("css selector", "details tbody tr")
    page.open(made)
    page.find("figure summary").click()
    assert page.find("figure details table").is_displayed()


def test_a_models_name_runs_nothing(page: Page, made: Path) -> None:
    page.open(made)
    assert HOSTILE in column(page, "artifacts", "model")
    assert HOSTILE in page.run("return document.body.textContent")
    assert page.run("return document.scripts.length") == 1
    page.check_silent()  # an alert would have failed every call before


def test_names_of_any_script_are_shown(page: Page, made: Path) -> None:
    page.open(made)
    text = page.run("return [...document.querySelectorAll('figcaption')].map(e => e.textContent)")
    assert any("модель-年齢-é" in caption for caption in text)


@pytest.mark.parametrize(
    "records",
    [
        [an_accuracy()],
        [an_emulation(failure="Illegal instruction", instructions_per_inference=None)],
        [a_prediction(calibrated=False, why="no evidence is alike")],
        [replace(a_measurement(), rounds=())],
    ],
    ids=["accuracy-alone", "failed-alone", "prediction-alone", "no-rounds"],
)
def test_few_records_make_a_page_too(page: Page, tmp_path: Path, records: list[AnyRecord]) -> None:
    write_page(saved_in(tmp_path / "results", records), tmp_path / "report.html")
    page.open(tmp_path / "report.html", 400)
    assert record_key(records[0]) in page.run("return document.body.textContent")
    assert page.run("return document.documentElement.scrollWidth") <= 400
    page.check_silent()


def test_the_page_names_no_other_place_and_no_machine(made: Path, benchmarks: Path) -> None:
    for file in (made, benchmarks):
        text = file.read_text()
        assert re.findall(r"(?:src|href|url\()\W*(?!#)(\w+:|//)", text) == []
        assert "<link" not in text and "@import" not in text
        assert str(file.parent) not in text
        assert str(Path(__file__).parents[1]) not in text


def test_equal_records_give_equal_bytes(tmp_path: Path, made: Path) -> None:
    results = saved_in(tmp_path / "elsewhere", everything()[::-1])
    saved = load_saved(results)
    assert html_page(saved, results, summary=summarise(saved)) == made.read_text()


def blended(colour: str, share: float, ground: str) -> str:
    pairs = [(int(colour[at : at + 2], 16), int(ground[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_the_colours_can_be_told_from_their_ground(theme: dict[str, str]) -> None:
    assert LIGHT.keys() == DARK.keys()
    words = ["ink", "muted", "accent", "measured", "emulated", "predicted", "published"]
    for name in words:
        for ground in ("paper", "raised"):
            assert contrast(theme[name], theme[ground]) >= 4.5, (name, ground)
    for name, value in theme.items():
        if name.startswith("series"):
            assert contrast(value, theme["paper"]) >= 3, name
    full = blended(theme["series0"], SHADE, theme["paper"])
    assert contrast(theme["ink"], full) >= 4.5, "a number in a full cell of a confusion"


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def test_plots_are_files_of_the_same_names(tmp_path: Path) -> None:
    records: list[AnyRecord] = [hot(a_measurement()), an_emulation(), a_prediction()]
    results = saved_in(tmp_path / "results", records)
    for folder in ("two", "one"):
        asked = ["report", "--results", str(results), "--plots", str(tmp_path / folder)]
        done = CliRunner().invoke(app, asked)
        assert done.exit_code == 0, done.output
    said = "".join(done.output.split())  # a long path may be broken over lines
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    stems = {name.rpartition(".")[0] for name in files if name != "captions.md"}
    assert len(stems) == 5, "of one own record each"
    assert files == sorted([*(f"{s}{e}" for s in stems for e in (".png", ".svg")), "captions.md"])
    for name in files:
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes()
        assert content.startswith((b"\x89PNG", b"<?xml", b"## "))
    assert str(tmp_path / "one" / "captions.md") in said and f"{len(files)}files" in said
    assert f"and{len(files) - 1}morefilesbesidethem" in said
    captions = (tmp_path / "one" / "captions.md").read_text()
    assert all(f"## {stem}\n" in captions for stem in stems)


def test_no_plot_takes_the_file_of_another(tmp_path: Path) -> None:
    models = ("модель", "a b", "a-b", "m" * 300)
    assert len(models) == MOST, "more would not be drawn"
    records = [
        replace(named(model, "onnx", 2.0), run=f"run{place}", label="one")
        for place, model in enumerate(models)
    ]
    made = sections(load_saved(saved_in(tmp_path / "results", list(records))))
    own = tuple(section for section in made if section.name == "distribution")
    paths = save_plots(own, tmp_path / "plots")
    captions = (tmp_path / "plots" / "captions.md").read_text()
    assert len(set(paths)) == len(paths) == 2 * len(models) + 1
    for model in models:
        assert f"Calls of {model}," in captions


def test_ones_own_confusions_come_before_the_shipped_ones_and_the_rest_is_told(
    tmp_path: Path,
) -> None:
    matrix = Confusion("age", ("young", "old"), ((40, 10), (5, 45)))
    own = [an_accuracy(model=f"zebra:{place}", confusion=(matrix,)) for place in range(MOST - 1)]
    (section,) = (
        section
        for section in sections(load_saved(saved_in(tmp_path / "results", list(own)), shipped=True))
        if section.name == "confusion"
    )
    assert len(section.plots) == MOST
    assert all(plot.title.startswith("zebra:") for plot in section.plots[:-1])
    assert not section.plots[-1].title.startswith("zebra:")
    assert section.notes == (f"only the first {MOST} plots are drawn: the tables hold the others",)


@pytest.mark.parametrize("option", ["--html", "--plots"])
def test_nothing_is_written_among_the_results(tmp_path: Path, option: str) -> None:
    results = saved_in(tmp_path / "results", [a_measurement()])
    before = sorted(results.rglob("*"))
    asked = ["report", "--results", str(results), option, str(results / "report.html")]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code != 0
    assert "choose a folder outside the results" in str(done.exception)
    assert sorted(results.rglob("*")) == before

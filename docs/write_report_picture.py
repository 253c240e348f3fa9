"""Writes docs/report.png: the first screen of the page that `edgekit report --html` makes.

Run it after a change of the page or of the records: `python docs/write_report_picture.py`. It
needs Chromium and its driver (Debian: chromium, chromium-driver). The picture holds a hash of the
page it shows, by which `tests/test_page.py` finds one that is out of date.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from edgekit.recommend.summary import summarise
from edgekit.report.page import html_page
from edgekit.report.records import load_saved

DOCS = Path(__file__).parent
RECORDS = DOCS.parent / "benchmarks" / "records"
PICTURE = DOCS / "report.png"
MODEL = "multitask-cnn:classification"
WIDTH, HEIGHT = 1280, 1440


def page() -> str:
    """Return the page of what was measured here of the model that comes with weights."""
    saved = load_saved(RECORDS)
    shown = replace(
        saved,
        measurements=tuple(m for m in saved.measurements if m.artifact.model == MODEL),
        accuracy=tuple(a for a in saved.accuracy if a.model == MODEL),
        emulations=(),
        predictions=(),
    )
    return html_page(shown, RECORDS, summary=summarise(shown))


def digest() -> str:
    """Return the hash of the page without its drawings, which differ with matplotlib's version."""
    drawn = re.compile("<svg.*?</svg>", re.DOTALL)
    return hashlib.sha256(drawn.sub("", page()).encode()).hexdigest()


def write(picture: Path) -> None:
    """Write the first screen of the page as a PNG."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        file.write_text(page())
        options = webdriver.ChromeOptions()
        for flag in ("--headless=new", "--disable-gpu", "--no-first-run", "--hide-scrollbars"):
            options.add_argument(flag)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # Chromium's sandbox does not run as root
        options.add_argument(f"--user-data-dir={folder}/browser")
        options.binary_location = shutil.which("chromium") or sys.exit("chromium is missing")
        driver = webdriver.Chrome(
            options=options,
            service=Service(shutil.which("chromedriver") or sys.exit("chromedriver is missing")),
        )
        try:
            screen = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
            light = {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", light)
            driver.get(file.as_uri())
            shot = driver.get_screenshot_as_png()
        finally:
            driver.quit()
    known = PngInfo()
    known.add_text("page", digest())
    Image.open(io.BytesIO(shot)).convert("RGB").save(picture, pnginfo=known, optimize=True)


if __name__ == "__main__":
    write(PICTURE)

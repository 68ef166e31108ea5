"""A real browser draws the picture and the page as meant."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from test_viewer_picture import HOSTILE, NAMES

from hyperagent import viewer
from hyperagent.hypergraph import Hypergraph, anchors, build_anchor

CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

# Writes every text that leaves its picture, or that lies over another, into the document.
MEASURE = """
<script>
const bad = [];
for (const svg of document.querySelectorAll('svg')) {
  const wide = svg.width.baseVal.value, boxes = [];
  for (const text of svg.querySelectorAll('text')) {
    const b = text.getBBox();
    if (b.x < 0 || b.x + b.width > wide) bad.push(['outside', text.textContent]);
    for (const [o, words] of boxes)
      if (b.x < o.x + o.width - 1 && o.x < b.x + b.width - 1 &&
          b.y < o.y + o.height - 4 && o.y < b.y + b.height - 4)
        bad.push(['overlap', words, text.textContent]);
    boxes.push([b, text.textContent]);
  }
}
document.body.innerHTML = '<pre id="out"></pre>';
document.getElementById('out').textContent = JSON.stringify(bad);
</script>
"""


def browse(tmp_path: Path, page: Path, *flags: str) -> str:
    command = [
        *(CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
        *("--disable-sync", "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}"),
        *(*flags, page.as_uri()),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_no_text_overlaps_or_leaves_its_picture(tmp_path, graph, make_result) -> None:
    roles = {n: ("solver", "mathematical analyst")[i % 2] for i, n in enumerate(NAMES)}
    pictures = [viewer.svg(graph, title="A result", result=make_result())]
    for name in anchors.names():
        for n in (4, 12, 24):
            anchor = build_anchor(name, NAMES[:n])
            pictures.append(viewer.svg(anchor, title=f"{name} of {n}", roles=roles))
    page = tmp_path / "all.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><body>{''.join(pictures)}{MEASURE}")
    dom = browse(tmp_path, page, "--dump-dom")
    found = re.search('<pre id="out">(.*)</pre>', dom)
    assert found, "the measuring script did not run"
    assert json.loads(unescape(found[1])) == []


def test_the_page_is_drawn_in_light_and_runs_nothing(tmp_path, graph, make_result) -> None:
    image = pytest.importorskip("matplotlib.image")
    page = tmp_path / "page.html"
    evil = "".join(HOSTILE[:6]) + "<script>document.title='owned'</script>"
    page.write_text(viewer.html(graph, title="clips", result=make_result(evil)), encoding="utf-8")
    shot = tmp_path / "page.png"
    browse(tmp_path, page, "--window-size=1000,1400", f"--screenshot={shot}")
    pixels = image.imread(shot)[:, :, :3]

    def share(colour: str) -> float:
        want = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        return float((abs(pixels - want).max(axis=2) < 0.02).mean())

    assert share("#0072B2") > 1e-4, "discussing beads"
    assert share("#D55E00") > 1e-4, "verifying beads"
    assert share("#ffffff") > 0.5, "a light page"
    dom = browse(tmp_path, page, "--dump-dom")
    assert "<title>clips</title>" in dom
    assert "<script" not in dom


def test_an_svg_file_opens_alone(tmp_path: Path, graph: Hypergraph) -> None:
    image = pytest.importorskip("matplotlib.image")
    file = tmp_path / "a.svg"
    file.write_text(viewer.svg(graph, title="alone"), encoding="utf-8")
    shot = tmp_path / "a.png"
    browse(tmp_path, file, "--window-size=500,500", f"--screenshot={shot}")
    pixels = image.imread(shot)[:, :, :3]
    assert pixels.std() > 0.02

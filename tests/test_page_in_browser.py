"""The page's script, driven in headless Chromium: sorting, filtering, a run on demand, no error."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_report import built, study

from palimpsest.provenance import page_hash

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page in")

WATCH = (
    "<script>window.faults = []; addEventListener('error', (e) => faults.push(e.message));</script>"
)
DRIVE = """<script>
addEventListener("load", () => {
  const found = {};
  const rows = () => [...document.querySelectorAll("#runs tbody tr")];
  const column = (name) => [...document.querySelectorAll("#runs thead th")]
    .findIndex((head) => head.textContent.trim() === name);
  const values = (name) => rows().map((row) => Number(row.cells[column(name)].dataset.sort));
  const head = (name) => document.querySelectorAll("#runs thead th")[column(name)];
  const click = (name) => head(name).querySelector("button").click();
  click("forgetting"); found.up = values("forgetting");
  click("forgetting"); found.down = values("forgetting");
  const words = document.getElementById("filter-words");
  words.value = "75 %"; words.dispatchEvent(new Event("input"));
  const visible = rows().filter((row) => !row.hidden);
  found.filtered = visible.map((row) => row.cells[column("replay")].textContent);
  found.status = document.getElementById("shown").textContent;
  words.value = ""; words.dispatchEvent(new Event("input"));
  document.querySelector("button.run").click();
  found.open = document.getElementById("run").open;
  found.name = document.getElementById("run-name").textContent;
  found.first = rows()[0].cells[0].textContent;
  found.figures = document.querySelectorAll("#run-figures svg").length;
  document.getElementById("run-close").click();
  found.closed = !document.getElementById("run").open;
  document.getElementById("theme").click();
  found.theme = document.documentElement.dataset.theme;
  found.provenance = document.getElementById("provenance").textContent;
  found.overflow = document.documentElement.scrollWidth > innerWidth;
  found.faults = faults;
  found.width = innerWidth;
  parent.postMessage(JSON.stringify(found), "*");
});
</script>"""
FRAME = """<iframe src="{page}" style="border: 0; width: {width}px; height: 1000px"></iframe>
<script>
addEventListener("message", (event) => {{
  const told = document.createElement("pre");
  told.id = "told"; told.textContent = event.data;
  document.body.append(told);
}});
</script>"""

SUMS = {"cpu_seconds": 12.5, "wall_seconds": 20.0, "n_tokens": 1500.0, "flops": 9e9}
ROW = {"stage": "train", "n_artifacts": 2, "n_recorded": 2, **SUMS}
ORIGIN = {"commit": "abc", "python": "3.11.9", "versions": "torch 2.0", "n_artifacts": 2}
PROVENANCE = {
    "origins": [ORIGIN | {"hardware": "a processor, 2 cores"}],
    "stages": [ROW],
    "total": ROW | {"stage": "all"},
    "busy_seconds": 15.0,
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    html = (built(study(folder / "study"), folder / "out") / "index.html").read_text()
    driven = html.replace("<head>", "<head>" + WATCH).replace("</body>", DRIVE + "</body>")
    (folder / "report").mkdir()
    (folder / "report" / "driven.html").write_text(driven)
    tell_provenance(folder / "report" / "driven.html")
    return folder / "report" / "driven.html"


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_sorts_filters_and_opens_a_run(page: Path, width: int, tmp_path: Path) -> None:
    found = opened(page, width=width, profile=tmp_path)
    assert found["up"] == sorted(found["up"]) and len(set(found["up"])) > 1
    assert found["down"] == found["up"][::-1]
    assert {" ".join(text.split()) for text in found["filtered"]} == {"75 %"}
    assert found["status"].startswith(f"{len(found['filtered'])} of ")
    assert found["open"] and found["name"] == found["first"] and found["figures"] >= 2
    assert found["closed"] and found["theme"] == "dark"
    assert "3.11.9" in found["provenance"] and "a processor, 2 cores" in found["provenance"]
    assert "12.5 s of processors" in found["provenance"]
    assert found["width"] == width and not found["overflow"]
    assert found["faults"] == []


@pytest.mark.slow
def test_the_provenance_of_another_report_is_not_shown(page: Path, tmp_path: Path) -> None:
    other = tmp_path / "report" / "driven.html"
    other.parent.mkdir()
    shutil.copyfile(page, other)
    tell_provenance(other, named="0123456789abcdef")
    found = opened(other, width=1440, profile=tmp_path)
    assert "belongs to another report" in found["provenance"]
    assert "3.11.9" not in found["provenance"] and found["faults"] == []


def tell_provenance(page: Path, *, named: str = "") -> None:
    """Write the provenance that stands beside a page's folder, naming that page or another."""
    content = json.dumps(PROVENANCE | {"page": named or page_hash(page)})
    (page.parent.parent / "provenance.js").write_text(f"showProvenance({content});")


def opened(page: Path, *, width: int, profile: Path, seconds: int = 9) -> dict:
    """Return what the page tells, in a frame: Chromium's own windows are at least 500 wide."""
    frame = page.with_name("frame.html")
    frame.write_text(FRAME.format(page=page.name, width=width))
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *(f"--user-data-dir={profile}", "--window-size=1500,1000"),
        *(f"--virtual-time-budget={1000 * seconds}", "--dump-dom", frame.as_uri()),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    told = re.search(r'<pre id="told">(.*?)</pre>', dom, flags=re.DOTALL)
    assert told is not None, dom[-2000:]
    return json.loads(told.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))

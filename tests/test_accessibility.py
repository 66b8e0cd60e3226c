"""axe-core's rules on the page, light and dark, on a desk and on a phone.

axe-core is no part of the environment. `npm pack axe-core` and `tar xzf axe-core-*.tgz` bring it;
then AXE=package/axe.min.js pytest -m slow tests/test_accessibility.py. With PAGE naming a published
page, that page is checked instead of a planted one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from test_page_in_browser import CHROMIUM, opened, tell_provenance
from test_report import built, study

AXE = Path(os.environ.get("AXE", "axe.min.js"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page in"),
    pytest.mark.skipif(not AXE.is_file(), reason="no axe-core: AXE does not name its axe.min.js"),
]
RUN = """<script>
addEventListener("load", async () => {
  for (const one of document.querySelectorAll("details")) one.open = true;
  const run = document.querySelector("button.run");
  if (DIALOG && run) run.click();
  const found = await axe.run();
  const short = (one) => ({ id: one.id, impact: one.impact, help: one.help,
    nodes: one.nodes.slice(0, 5).map((node) => node.html.slice(0, 160) + node.failureSummary) });
  parent.postMessage(JSON.stringify({ width: innerWidth, n_passes: found.passes.length,
    violations: found.violations.map(short), incomplete: found.incomplete.map(short) }), "*");
});
</script>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if "PAGE" in os.environ:
        return Path(os.environ["PAGE"]).resolve()
    folder = tmp_path_factory.mktemp("axe")
    return built(study(folder / "study"), folder / "out") / "index.html"


@pytest.mark.parametrize("dialog", ["false", "true"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_no_serious_fault(
    report: Path, width: int, theme: str, dialog: str, tmp_path: Path
) -> None:
    page = report.read_text("utf-8").replace("<html", f'<html data-theme="{theme}"', 1)
    scripts = f"<script>{AXE.read_text('utf-8')}</script>" + RUN.replace("DIALOG", dialog)
    (tmp_path / "report").mkdir()
    driven = tmp_path / "report" / "index.html"
    driven.write_text(page.replace("</body>", scripts + "</body>"), "utf-8")
    tell_provenance(driven)
    found = opened(driven, width=width, profile=tmp_path / "profile", seconds=60)
    assert found["width"] == width
    assert found["n_passes"] > 10
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert serious == [], json.dumps(serious, indent=1)

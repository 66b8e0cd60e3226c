from __future__ import annotations

import hashlib
import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_frames import frames
from synthetic_tables import write_tables

from palimpsest import provenance
from palimpsest.core.answers.every import answers
from palimpsest.core.answers.forecast import predicted_size
from palimpsest.core.answers.scale import scale_words
from palimpsest.core.plots.every import FIGURES
from palimpsest.faults import Fault
from palimpsest.stages import fits, report

SIZES = {"tiny": 25_000, "small": 100_000}
FIGURE_TITLES = {figure(frames([])).title for figure in FIGURES}


class Page(HTMLParser):
    """Collects identifiers, links to them, what is loaded from elsewhere, and the verdicts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.verdicts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "a":
            self.links.append(values["href"])
        if "src" in values or (tag == "link" and not values["href"].startswith("data:")):
            self.loaded.append(values.get("src", tag))
        classes = values.get("class", "").split()
        if "badge" in classes:
            self.verdicts.append(classes[1])


def study(folder: Path) -> dict[str, Path]:
    write_tables(folder / "tables", seed=1, sizes=SIZES)
    refit(folder)
    return {"tables": folder / "tables", "fits": folder / "fits"}


def refit(folder: Path) -> None:
    """Write the fits of the tables, with few laws and resamples."""
    (folder / "fits").mkdir(exist_ok=True)
    spec = {"laws": ["decrease-lr", "replay-line"], "bootstrap": 50, "confidence": 0.95}
    spec |= {"seed": 0, "tolerance_nats": 0.05}
    fits.build(spec, {"tables": folder / "tables"}, folder / "fits")


def built(inputs: dict[str, Path], out: Path) -> Path:
    out.mkdir()
    report.build({"title": "A study"}, inputs, out)
    return out


class Watched(dict[str, Any]):
    """The fits, and which of their parts were looked at."""

    def __init__(self, content: dict[str, Any]) -> None:
        super().__init__(content)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def out(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(inputs, tmp_path_factory.mktemp("report") / "out")


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return Page((out / "index.html").read_text())


def test_the_page_stands_alone(page: Page) -> None:
    assert page.loaded == ["../provenance.js"]  # what differs between machines, where it is known
    assert not [link for link in page.links if not link.startswith(("#", "figures/"))]


def test_the_page_carries_a_hash_of_itself(out: Path) -> None:
    carried = provenance.page_hash(out / "index.html")
    assert re.fullmatch("[0-9a-f]{16}", carried)
    bare = (out / "index.html").read_text().replace(carried, "", 1)
    assert hashlib.sha256(bare.encode()).hexdigest().startswith(carried)


def test_its_links_lead_somewhere(page: Page, out: Path) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    files = [link for link in page.links if link.startswith("figures/")]
    assert files and all((out / link).stat().st_size > 0 for link in files)


def test_it_answers_fourteen_questions_twice_and_the_held_out_size(page: Page) -> None:
    verdicts = page.verdicts[-30:]  # in the overview, then each in its place, the size last
    assert verdicts[:15] == verdicts[15:]
    assert verdicts[1] == "no"  # the planted forgetting is beyond tolerance at any ratio
    assert verdicts[2] == "yes"  # the planted learning falls with replay
    assert verdicts[7] == "not-run"  # no shuffled control was planted
    assert verdicts[14] == "not-run"  # two sizes


def test_what_was_not_run_names_the_lines_that_would_answer_it(out: Path) -> None:
    text = (out / "index.html").read_text()
    assert "base_step: [100, final]" in text
    assert "model: [tiny, small]" in text


def test_every_section_and_figure_stands_once_and_in_the_navigation(out: Path, page: Page) -> None:
    text = (out / "index.html").read_text()
    navigation = re.search(r"<nav.*?</nav>", text, flags=re.S)
    sections = re.findall(r'<section aria-labelledby="([^"]+)"', text)
    assert navigation and set(sections) <= set(re.findall(r'href="#([^"]+)"', navigation.group()))
    assert "further" in sections and "figure-curves" in page.ids
    headings = [title.rstrip(".") for title in re.findall(r"<(?:h[23]|b)[^>]*>([^<]+)<", text)]
    titles = [one for one in headings if headings.count(one) > 1 and one in FIGURE_TITLES]
    assert titles == []


def test_no_sign_of_code_is_left_raw(out: Path) -> None:
    text = re.sub(r"<(style|script|pre).*?</\1>", "", (out / "index.html").read_text(), flags=re.S)
    assert "`" not in text and "<code>decrease-lr</code>" in text
    assert report.coded("`a<b` & c") == "<code>a&lt;b</code> &amp; c"


def test_values_stand_beside_their_own_intervals() -> None:
    said = replace(answers(frames([]))[0], value="a: 1; b: 2", interval="0 to 1; 1 to 3")
    assert said.numbers == [("a: 1", "0 to 1"), ("b: 2", "1 to 3")]
    assert replace(said, interval="one for all").numbers == [("a: 1", ""), ("b: 2", "")]


def test_bases_that_saw_few_tokens_are_spoken_of() -> None:
    def bases(*tokens: float) -> pd.DataFrame:
        return pd.DataFrame({"n_tokens": tokens, "n_params_total": 100.0})

    assert scale_words(bases(2000.0, 9000.0)) == scale_words(bases()) == ""
    assert scale_words(bases(float("nan"))) == ""
    little = scale_words(bases(50.0, 400.0))
    assert "0.5 to 4 tokens per parameter" in little and "near-untrained" not in little
    assert "near-untrained" in scale_words(bases(45.0, 105.0))


def test_no_number_is_missing_in_words(out: Path) -> None:
    text = re.sub(r"<(style|script).*?</\1>", "", (out / "index.html").read_text(), flags=re.S)
    assert not re.search(r"\b(nan|None|NaN|inf)\b", text)


def test_answers_stand_in_a_file_as_on_the_page(out: Path) -> None:
    answers = json.loads((out / "answers.json").read_text())
    assert [one["number"] for one in answers] == [*range(1, 15), 0]  # the largest size comes last
    page = (out / "index.html").read_text()
    overview = re.search(r'<ul class="overview">(.*?)</ul>', page, flags=re.S)[1]
    shown = [re.sub(r"<[^>]*>", "", line) for line in re.findall(r"<li>.*?</li>", overview)]
    for one, line in zip(answers, shown, strict=True):
        assert one["verdict"] in html.unescape(line) and one["asked"] in html.unescape(line)


def test_the_metrics_are_few_and_finite(out: Path) -> None:
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["n_runs"] == len(pd.read_csv(out.parent / "out" / "forgetting.csv"))
    assert "recommended_replay_fraction" not in metrics  # nothing is within tolerance
    assert set(metrics["forgetting_without_replay_nats"]) == {"small", "tiny"}
    assert len(metrics) <= 12


def test_the_curve_has_a_row_per_plain_run(out: Path, inputs: dict[str, Path]) -> None:
    curve = pd.read_csv(out / "forgetting.csv")
    runs = pd.read_csv(inputs["tables"] / "runs.csv")
    assert curve.forgetting_nats.sum() == pytest.approx(runs.forgetting_nats.sum())


@pytest.mark.slow
def test_the_same_tables_give_the_same_bytes(
    inputs: dict[str, Path], out: Path, tmp_path: Path
) -> None:
    again = built(inputs, tmp_path / "again")
    files = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert len(files) > 20
    assert [
        name for name in files if (out / name).read_bytes() != (again / name).read_bytes()
    ] == []


def test_a_study_without_runs_still_has_a_page(tmp_path: Path) -> None:
    inputs = study(tmp_path / "study")
    for path in sorted(inputs["tables"].glob("*")):
        csv = path.suffix == ".csv"
        table = (pd.read_csv(path) if csv else pd.read_parquet(path)).iloc[:0]
        table.to_csv(path, index=False) if csv else table.to_parquet(path, index=False)
    refit(inputs["tables"].parent)
    page = Page((built(inputs, tmp_path / "out") / "index.html").read_text())
    assert set(page.verdicts) == {"not-run"}


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    inputs = study(tmp_path / "study")
    (inputs["tables"] / "memory.csv").unlink()
    with pytest.raises(Fault, match=r"memory\.csv"):
        built(inputs, tmp_path / "out")


def test_every_answer_of_the_fits_is_read(inputs: dict[str, Path]) -> None:
    known = report.read(inputs["tables"], fits=inputs["fits"])
    watched = Watched(known.fits)
    read = replace(known, fits=watched)
    answers(read)
    predicted_size(read)
    assert watched.read == set(known.fits)

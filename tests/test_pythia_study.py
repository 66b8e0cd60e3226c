"""studies/pythia.yaml: planned offline, with the counts of the published models."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from palimpsest import costs, overview, plan, sources
from palimpsest.shapes import PYTHIA

ROOT = Path(__file__).resolve().parent.parent
STUDY = Path("studies/pythia.yaml")
SIZES = ("pythia-70m", "pythia-160m", "pythia-410m", "pythia-1b")
TOTALS = (70_426_624, 162_322_944, 405_334_016, 1_011_781_632)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_the_study_asks_for_what_it_says() -> None:
    """Per size: 45 runs that hold, 36 that follow, 3 earlier revisions with 6 each; 12 of memory.

    The last revision is the base of the other experiments, so that its runs are theirs.
    """
    planned = plan.load(STUDY).by_stage
    assert len(planned["train"]) == len(planned["recall"]) == 4 * (45 + 36 + 18) + 12
    assert len(planned["bases"]) == 4 * 4
    kinds = [artifact.spec["kind"] for artifact in planned["corpora"].values()]
    assert kinds.count("same-tokenizer") == 16
    assert sorted(set(kinds)) == [
        "benchmark",
        "documents",
        "published-tokenizer",
        "same-tokenizer",
        "sessions",
    ]


def test_bytes_are_known_before_they_are_spent() -> None:
    """An epoch without moments leaves its weights, in the memory experiment six times."""
    totals = overview.estimate(STUDY)
    runs = sum(99 * 4 * n for n in TOTALS) + 12 * 6 * 4 * TOTALS[2]
    written, bases = (totals["stages"][stage]["n_bytes"] for stage in ("train", "bases"))
    assert written - 408 * costs.BYTES["train"] == pytest.approx(runs, rel=1e-9)
    assert bases - 16 * costs.BYTES["bases"] == pytest.approx(4 * 4 * sum(TOTALS), rel=1e-9)
    assert totals["workspace_bytes"] == pytest.approx(written + bases, rel=1e-3)
    assert [totals["models"][name]["n_params_total"] for name in SIZES] == list(TOTALS)
    assert totals["jobs"]["model"] <= totals["jobs"]["run"]
    half, single = totals["flops"] - totals["fp32_flops"], totals["fp32_flops"]
    seconds = half / 2e14 + single / 3e13 + 60 * totals["jobs"]["run"]
    assert totals["gpu_hours"] == pytest.approx(seconds / 3600, rel=1e-9)
    recall, corpora = totals["stages"]["recall"], totals["stages"]["corpora"]
    assert recall["fp32_flops"] == recall["flops"] > 0
    assert corpora["flops"] == corpora["fp32_flops"] == 0


def test_operations_of_training_follow_from_the_tokens() -> None:
    """4,194,304 new tokens and as many replayed ones at a half; 70m: 6·(12·6·512² + 50304·512)."""
    planned = plan.load(STUDY).by_stage["train"].values()
    chosen = [
        artifact.cost
        for artifact in planned
        if artifact.model == "pythia-70m"
        and artifact.spec["phase"]["policy"] == {"kind": "hold", "decrease": 0.05}
        and artifact.spec["phase"]["replay_fraction"] == 0.5
    ]
    per_token = 6 * (12 * 6 * 512**2 + 50304 * 512) + 12 * 6 * 512 * 2048
    trained = 2 * 4_194_304 * per_token
    measured = 2 * 4_194_304 * per_token / 3  # each piece before and after
    assert chosen
    assert [cost.flops for cost in chosen] == pytest.approx([trained + measured] * len(chosen))
    assert [cost.fp32_flops for cost in chosen] == pytest.approx([measured] * len(chosen))


def test_planning_it_asks_neither_torch_nor_the_hub() -> None:
    code = (
        "import sys; from pathlib import Path; from palimpsest import overview\n"
        f"overview.estimate(Path({str(STUDY)!r}))\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'huggingface_hub', 'lm_eval'} "
        "& set(sys.modules)))"
    )
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": ""}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_an_unknown_model_costs_nothing_until_its_config_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    study = yaml.safe_load(STUDY.read_text("utf-8"))
    study["corpora"]["tokenizer"] = {"model": "other"}
    study["models"] = {"hub": {"other": {"repo": "owner/other", "revision": "v1"}}}
    study["experiments"] = {"one": {"model": "other"}}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(study), "utf-8")
    totals = overview.estimate(file)
    assert totals["models"] == {"other": {"n_params": None, "n_params_total": None}}
    assert totals["flops"] == 0
    lines = "\n".join(overview._notes(totals))
    assert "other: its config.json is not on this machine" in lines
    assert "palimpsest run corpora" in lines


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"model": "pythia-70m", "base_step": 1500}, "not kept after 1500 updates; nearest: 1000"),
        ({"model": "pythia-70m", "epochs": 2}, "checkpoints.moments: false, but what follows"),
    ],
)
def test_what_no_stage_could_do_is_refused(tmp_path: Path, change: dict, line: str) -> None:
    study = yaml.safe_load(STUDY.read_text("utf-8")) | {"experiments": {"one": change}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study), "utf-8")
    with pytest.raises(plan.Fault, match=line):
        plan.load(tmp_path / "study.yaml")


def test_a_hub_model_needs_a_hub_tokenizer(tmp_path: Path) -> None:
    study = yaml.safe_load(STUDY.read_text("utf-8"))
    study["corpora"]["tokenizer"] = {"vocab_size": 512}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study), "utf-8")
    with pytest.raises(plan.Fault, match=r"write `tokenizer: .model: pythia-70m.`"):
        plan.load(tmp_path / "study.yaml")


def test_a_folders_weights_are_its_identity(project: Path) -> None:
    """DVC watches data/ for the corpora stage: what changes there must change the corpora too."""
    mine = project / "mine"
    mine.mkdir()
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 9}
    (mine / "config.json").write_text(json.dumps(shape | {"max_position_embeddings": 16}))
    (mine / "tokenizer.json").write_text("{}")
    study = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    study["corpora"]["tokenizer"] = {"model": "mine"}
    study["models"] = {"hub": {"mine": {"path": "mine"}}}
    study["experiments"] = {"one": {"model": "mine"}}
    Path("params.yaml").write_text(yaml.safe_dump(study))
    names = []
    for weights in ("first", "second"):
        (mine / "model.safetensors").write_text(weights)
        sources.content_hash.cache_clear()
        planned = plan.load(Path("params.yaml")).by_stage
        names.append({stage: set(members) for stage, members in planned.items()})
    changed = {stage for stage in names[0] if names[0][stage] != names[1][stage]}
    assert {"corpora", "bases", "train"} <= changed
    assert "tokens" not in changed


def test_the_sizes_are_pythias() -> None:
    assert [costs.parameters(PYTHIA[name])[1] for name in SIZES] == list(TOTALS)

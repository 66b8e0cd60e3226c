"""Corpora from CRD3, text, JSON Lines, parquet and data sets, local or in the hub cache."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import datasets
import httpx2
import huggingface_hub.constants
import pandas as pd
import pytest
from hub_folder import COMMIT, publish
from huggingface_hub.errors import GatedRepoError

from palimpsest.core import hub
from palimpsest.faults import Fault
from palimpsest.stages import corpora

SAMPLE = Path(__file__).parent / "crd3_sample"
FIRST = (
    "WREN: Welcome back to the table. We begin in the rain.\n"
    "ODA, PELL: Hooray!\n"
    "PELL: I draw Æthelmær’s blade — quietly. 🎲\n"
)
SECOND = "WREN: First: the café is shut.\nPELL: Second.\n"
THIRD = "WREN: A later campaign.\n[door creaks]\n日本: はい。\n"
PILE = {"repo": "owner/pile", "revision": "main"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    return tmp_path / "cache"


def built(out: Path, **spec: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Build a corpus; return its training and its held-out documents."""
    out.mkdir()
    corpora.build(spec, {}, out)
    return tuple(pd.read_parquet(out / f"{split}.parquet") for split in ("train", "held_out"))


def new(tmp_path: Path, path: Path, n_held_out: int = 1) -> tuple[list[str], list[str]]:
    """Return the texts of both splits of a new domain."""
    frames = built(tmp_path / "out", kind="sessions", path=str(path), held_out_episodes=n_held_out)
    return tuple(frame["text"].tolist() for frame in frames)


def pile(n: int) -> list[dict]:
    return [{"text": f"text {i}", "meta": {"pile_set_name": f"set {i % 2}"}} for i in range(n)]


def lines(file: Path, rows: list[dict]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


# Critical Role


def test_crd3_gives_exactly_this_text_in_campaign_order(tmp_path: Path) -> None:
    spec = {"kind": "sessions", "path": str(SAMPLE), "held_out_episodes": 1}
    train, held_out = built(tmp_path / "out", **spec)
    assert train.to_dict("records") == [
        {"document": 0, "domain": "dnd", "title": "C1E002", "text": FIRST},
        {"document": 1, "domain": "dnd", "title": "C2E001", "text": SECOND},
    ]
    assert held_out.to_dict("records") == [
        {"document": 0, "domain": "dnd", "title": "C10E001", "text": THIRD}
    ]


def test_crd3_of_the_hub_is_the_same(tmp_path: Path, cache: Path) -> None:
    publish(cache, "owner/crd3", SAMPLE, ref="main", kind="datasets")
    dataset = {"repo": "owner/crd3", "revision": "main", "files": "*.json"}
    spec = {"kind": "sessions", "dataset": dataset, "held_out_episodes": 1}
    train, held_out = built(tmp_path / "out", **spec)
    assert train["text"].tolist() == [FIRST, SECOND]
    assert held_out["text"].tolist() == [THIRD]
    assert json.loads((tmp_path / "out" / "origin.json").read_text())["commit"] == COMMIT


def archived(folder: Path) -> dict:
    """Zip the sample as GitHub zips a commit, beside another folder of the same name."""
    with zipfile.ZipFile(folder / "commit.zip", "w") as file:
        for episode in sorted(SAMPLE.iterdir()):
            file.write(episode, f"CRD3-0123/data/cleaned data/{episode.name}")
            file.writestr(f"CRD3-0123/baseline/data/cleaned data/{episode.name}", "old")
    return {"url": (folder / "commit.zip").as_uri(), "folder": "data/cleaned data"}


def test_crd3_is_fetched_as_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    archive = archived(tmp_path)
    spec = {"kind": "sessions", "archive": archive, "held_out_episodes": 1}
    train, held_out = built(tmp_path / "out", **spec)
    assert [*train["text"], *held_out["text"]] == [FIRST, SECOND, THIRD]
    with pytest.raises(Fault, match="holds no folder data/dirty data/"):
        built(tmp_path / "none", **spec | {"archive": archive | {"folder": "data/dirty data"}})
    gone = archive | {"url": (tmp_path / "gone.zip").as_uri()}
    with pytest.raises(Fault, match=r"gone\.zip: cannot be fetched .* put its folder data/cleaned"):
        built(tmp_path / "gone", **spec | {"archive": gone})


def test_files_of_one_name_in_two_folders_of_an_archive_are_both_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with zipfile.ZipFile(tmp_path / "commit.zip", "w") as file:
        for part in ("a", "b"):
            file.writestr(f"texts-01/story/{part}/chapter.txt", f"chapter of {part}")
    archive = {"url": (tmp_path / "commit.zip").as_uri(), "folder": "story"}
    spec = {"kind": "sessions", "archive": archive, "held_out_episodes": 1}
    train, held_out = built(tmp_path / "out", **spec)
    assert [*train["text"], *held_out["text"]] == ["chapter of a", "chapter of b"]


def test_an_archive_that_would_write_outside_its_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with zipfile.ZipFile(tmp_path / "commit.zip", "w") as file:
        file.writestr("texts-01/story/../../../far.txt", "far")
    archive = {"url": (tmp_path / "commit.zip").as_uri(), "folder": "story"}
    with pytest.raises(Fault, match=r"story/\.\./\.\./\.\./far\.txt, in the archive, leads out"):
        built(tmp_path / "out", kind="sessions", archive=archive, held_out_episodes=1)


def test_an_archive_is_not_fetched_offline(tmp_path: Path, cache: Path) -> None:
    spec = {"kind": "sessions", "archive": archived(tmp_path), "held_out_episodes": 1}
    with pytest.raises(Fault, match="run this stage with HF_HUB_OFFLINE=0"):
        built(tmp_path / "out", **spec)


def test_the_aligned_data_of_crd3_are_refused(tmp_path: Path) -> None:
    (tmp_path / "aligned").mkdir()
    (tmp_path / "aligned" / "C1E001_2_0.json").write_text("[]")
    with pytest.raises(Fault, match="give its folder `cleaned data`"):
        new(tmp_path, tmp_path / "aligned")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"METADATA": {}}', "wrong record: neither TURNS nor turns nor text"),
        ('{"TURNS": [{"NUMBER": 0, "NAMES": []}]}', "the record has no 'UTTERANCES'"),
        ("[]", "expected METADATA and TURNS"),
        ('{"TURNS": ', ":1: not JSON"),
        ('{"TURNS": []}', "wrong record: expected text"),
    ],
)
def test_a_wrong_episode_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "crd3").mkdir()
    (tmp_path / "crd3" / "C1E001.json").write_text(content)
    with pytest.raises(Fault) as told:
        new(tmp_path, tmp_path / "crd3")
    assert "C1E001.json" in str(told.value)
    assert complaint in str(told.value)
    assert "\n" not in str(told.value)


# One's own text


def test_documents_are_episodes_where_there_are_no_turns(tmp_path: Path) -> None:
    file = lines(tmp_path / "new.jsonl", [{"text": "one"}, {"text": "two"}, {"text": "three"}])
    assert new(tmp_path, file) == (["one", "two"], ["three"])


def test_a_folder_of_text_files_is_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()
    for name, text in (("b.md", "second"), ("a.txt", "first"), ("c.txt", "third")):
        (tmp_path / "book" / name).write_text(text)
    assert new(tmp_path, tmp_path / "book") == (["first", "second"], ["third"])


def test_one_text_file_is_cut_at_line_ends(tmp_path: Path) -> None:
    line = "x" * 3999 + "\n"
    (tmp_path / "book.txt").write_text(line * 7)
    assert new(tmp_path, tmp_path / "book.txt") == ([line * 3, line * 3], [line])


def test_parquet_is_read_row_by_row(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["one", "two"]}).to_parquet(tmp_path / "new.parquet")
    assert new(tmp_path, tmp_path / "new.parquet") == (["one"], ["two"])
    with pytest.raises(Fault, match=r"none\.parquet: no such file"):
        built(tmp_path / "x", kind="sessions", path="none.parquet", held_out_episodes=1)


def test_what_datasets_saved_is_read(tmp_path: Path) -> None:
    saved = datasets.Dataset.from_dict({"text": ["one", "two"]})
    saved.save_to_disk(tmp_path / "saved")
    assert new(tmp_path, tmp_path / "saved") == (["one"], ["two"])


# The original domain, divided


def test_the_first_documents_are_held_out_and_do_not_come_again(tmp_path: Path) -> None:
    rows = pile(5)
    file = lines(tmp_path / "p.jsonl", [*rows[:3], rows[0], {"text": " "}, *rows[3:]])
    spec = {"kind": "documents", "path": str(file), "held_out_documents": 2}
    train, held_out = built(tmp_path / "out", **spec)
    assert held_out["text"].tolist() == ["text 0", "text 1"]
    assert train["text"].tolist() == ["text 2", "text 3", "text 4"]
    assert train["domain"].tolist() == ["set 0", "set 1", "set 0"]


@pytest.mark.parametrize("line", ["[1, 2]", '"text"', "null", "7"])
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: str) -> None:
    file = lines(tmp_path / "p.jsonl", pile(3))
    file.write_text(file.read_text() + line + "\n")
    spec = {"kind": "documents", "path": str(file), "held_out_documents": 1}
    with pytest.raises(Fault) as told:
        built(tmp_path / "out", **spec)
    assert str(told.value).startswith(f"{file}:4: expected an object")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_data_set_of_the_hub_gives_the_wanted_number(
    tmp_path: Path, cache: Path, form: str
) -> None:
    if form == "jsonl":
        lines(tmp_path / "files" / "train.jsonl", pile(9))
    else:
        (tmp_path / "files").mkdir()
        pd.DataFrame(pile(9)).to_parquet(tmp_path / "files" / "train-00000-of-00001.parquet")
    publish(cache, PILE["repo"], tmp_path / "files", ref="main", kind="datasets")
    spec = {"kind": "documents", "dataset": PILE, "held_out_documents": 2, "max_documents": 4}
    train, held_out = built(tmp_path / "out", **spec)
    assert held_out["text"].tolist() == ["text 0", "text 1"]
    assert train["text"].tolist() == ["text 2", "text 3", "text 4", "text 5"]
    assert json.loads((tmp_path / "out" / "origin.json").read_text())["commit"] == COMMIT
    with pytest.raises(Fault, match="owner/pile: 9 different documents; held_out_documents 2 and"):
        built(tmp_path / "more", **spec | {"max_documents": 8})


def test_a_data_set_without_network_is_named_with_its_command(tmp_path: Path, cache: Path) -> None:
    spec = {"kind": "documents", "dataset": PILE, "held_out_documents": 2, "max_documents": 4}
    with pytest.raises(Fault) as told:
        built(tmp_path / "out", **spec)
    line = str(told.value)
    assert "or: hf download owner/pile --repo-type dataset --revision main" in line
    assert "\n" not in line


def test_a_split_that_is_not_there_is_named(tmp_path: Path, cache: Path) -> None:
    lines(tmp_path / "files" / "train.jsonl", pile(3))
    publish(cache, PILE["repo"], tmp_path / "files", ref="main", kind="datasets")
    spec = {"kind": "documents", "dataset": PILE | {"split": "tset"}, "held_out_documents": 1}
    with pytest.raises(Fault, match=r"cannot read it \(split 'tset'\)"):
        built(tmp_path / "out", **spec)


def gated() -> Exception:
    """What `datasets` makes of a gated repository."""
    request = httpx2.Request("GET", "https://huggingface.co")
    error = datasets.exceptions.DatasetNotFoundError("Dataset 'owner/pile' is gated")
    error.__cause__ = GatedRepoError("no", response=httpx2.Response(403, request=request))
    return error


UNREACHED = "the hub cannot be reached; on a machine with network run this stage with HF_HUB_OFFL"
STREAMING = {
    "gated": (gated(), "gated; accept its terms at https://huggingface.co/datasets/owner/pile and"),
    "connection": (ConnectionError("Server Disconnected"), UNREACHED),
    "transport": (httpx2.ReadTimeout("slow"), UNREACHED),
}


@pytest.mark.parametrize("moment", ["loading", "row 2"])
@pytest.mark.parametrize("case", STREAMING)
def test_what_fails_while_rows_stream_is_the_hub_s_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, moment: str, case: str
) -> None:
    """Online, with a hub and a `datasets` that answer as they do when refused or cut off."""
    error, line = STREAMING[case]

    def rows() -> Iterator[dict]:
        yield from pile(1)
        raise error

    def load(*_: object, **asked: object) -> Iterator[dict]:
        assert asked["streaming"] and asked["revision"] == COMMIT
        if moment == "loading":
            raise error
        return rows()

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub.HfApi, "repo_info", lambda *_, **__: SimpleNamespace(sha=COMMIT))
    monkeypatch.setattr(datasets, "load_dataset", load)
    spec = {"kind": "documents", "dataset": PILE, "held_out_documents": 1, "max_documents": 4}
    with pytest.raises(Fault) as told:
        built(tmp_path / "out", **spec)
    assert str(told.value).startswith(f"owner/pile@{COMMIT}: ")
    assert line in str(told.value) and "\n" not in str(told.value)

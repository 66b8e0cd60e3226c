import gzip
import json
import lzma
from pathlib import Path

import pandas as pd
import pytest

from palimpsest.faults import Fault
from palimpsest.stages import corpora


def document(text: str, domain: str = "books") -> dict:
    return {"text": text, "meta": {"pile_set_name": domain}}


def lines(*records: dict) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def build(out: Path, **spec: object) -> Path:
    out.mkdir()
    corpora.build(spec, {}, out)
    return out


def documents(folder: Path, *, train: str, held_out: str, most: int | None = None) -> Path:
    (folder / "train.jsonl").write_text(train)
    (folder / "held_out.jsonl").write_text(held_out)
    paths = {name: str(folder / f"{name}.jsonl") for name in ("train", "held_out")}
    return build(folder / "out", kind="documents", max_documents=most, **paths)


def test_documents_keep_their_order_domain_and_title(tmp_path: Path) -> None:
    titled = {"text": "b", "meta": {"pile_set_name": "code", "title": "b.py"}}
    out = documents(tmp_path, train=lines(document("a"), titled), held_out=lines(document("c")))
    train = pd.read_parquet(out / "train.parquet")
    assert list(train.columns) == ["document", "domain", "title", "text"]
    assert train.to_numpy().tolist() == [[0, "books", "", "a"], [1, "code", "b.py", "b"]]
    assert pd.read_parquet(out / "held_out.parquet")["text"].tolist() == ["c"]


def test_max_documents_keeps_the_first_of_each_split(tmp_path: Path) -> None:
    many = lines(document("a"), document("b"), document("c"))
    other = lines(document("d"), document("e"), document("f"))
    out = documents(tmp_path, train=many, held_out=other, most=2)
    assert pd.read_parquet(out / "train.parquet")["text"].tolist() == ["a", "b"]
    assert pd.read_parquet(out / "held_out.parquet")["text"].tolist() == ["d", "e"]


@pytest.mark.parametrize("opener", [lzma.open, gzip.open])
def test_compressed_files_are_read(tmp_path: Path, opener: type) -> None:
    path = tmp_path / ("q.jsonl.xz" if opener is lzma.open else "q.jsonl.gz")
    with opener(path, "wt") as file:
        file.write(lines({"question": "Who?", "answer": "Quill"}))
    out = build(tmp_path / "out", kind="questions", path=str(path))
    table = pd.read_parquet(out / "questions.parquet")
    assert table.to_dict("records") == [{"question": "Who?", "answer": "Quill"}]


def test_last_episodes_are_held_out(tmp_path: Path) -> None:
    turns = [{"speaker": "DM", "text": "Roll."}, {"speaker": "JUNO", "text": "Two."}]
    episodes = [
        {"episode": f"S01E00{n}", "title": "t", "turns": turns[: 1 + n % 2]} for n in range(3)
    ]
    path = tmp_path / "sessions.jsonl"
    path.write_text(lines(*episodes[:2], {**episodes[2], "turns": turns[1:]}))
    settings = {"held_out_episodes": 1, "episode_characters": None}
    out = build(tmp_path / "out", kind="sessions", path=str(path), **settings)
    train = pd.read_parquet(out / "train.parquet")
    assert train["text"].tolist() == ["DM: Roll.\n", "DM: Roll.\nJUNO: Two.\n"]
    held_out = pd.read_parquet(out / "held_out.parquet")
    assert held_out.to_numpy().tolist() == [[0, "dnd", "S01E002", "JUNO: Two.\n"]]


@pytest.mark.parametrize("n_held_out", [0, 1, 2])
def test_each_side_of_the_sessions_needs_an_episode(tmp_path: Path, n_held_out: int) -> None:
    path = tmp_path / "sessions.jsonl"
    turns = [{"speaker": "DM", "text": "Roll."}]
    path.write_text(lines({"episode": "S01E001", "title": "t", "turns": turns}))
    with pytest.raises(Fault, match=f"held_out_episodes is {n_held_out}, it has 1 episodes"):
        build(tmp_path / "out", kind="sessions", path=str(path), held_out_episodes=n_held_out)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"text": "a"', ":2: not JSON"),
        ('{"body": "a", "meta": {}}', ":2: the record has no 'text'"),
        ('{"text": 7, "meta": {"pile_set_name": "x"}}', ":2: wrong record: expected text, found 7"),
        ('{"text": " ", "meta": {"pile_set_name": "x"}}', ":2: wrong record: expected text"),
        ("[1, 2]", ":2: expected an object"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(Fault) as fault:
        documents(tmp_path, train=lines(document("a")) + line, held_out=lines(document("b")))
    assert f"train.jsonl{complaint}" in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_missing_an_empty_and_a_broken_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"nowhere\.jsonl: no such file"):
        build(tmp_path / "a", kind="questions", path="nowhere.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(Fault, match="holds no records"):
        build(tmp_path / "b", kind="questions", path=str(tmp_path / "empty.jsonl"))
    (tmp_path / "broken.jsonl.xz").write_bytes(b"no archive")
    with pytest.raises(Fault, match="cannot be read after line 0"):
        build(tmp_path / "c", kind="questions", path=str(tmp_path / "broken.jsonl.xz"))


def test_a_document_on_both_sides_is_refused(tmp_path: Path) -> None:
    both = lines(document("a"), document("b"))
    with pytest.raises(Fault, match="held-out document 1 is in the training split too"):
        documents(tmp_path, train=both, held_out=lines(document("c"), document("b")))


def original_of(folder: Path) -> Path:
    folder.mkdir()
    texts = pd.DataFrame({"text": ["salt"] * 20})
    texts.to_parquet(folder / "train.parquet", index=False)
    return folder


def train_tokenizer(folder: Path, original: Path, vocab_size: int = 260) -> Path:
    folder.mkdir()
    corpora.build({"kind": "tokenizer", "vocab_size": vocab_size}, {"original": original}, folder)
    return folder


def test_tokenizer_is_the_same_each_time_and_loads(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    original = original_of(tmp_path / "original")
    first = train_tokenizer(tmp_path / "first", original)
    again = train_tokenizer(tmp_path / "again", original)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (first / name).read_bytes() == (again / name).read_bytes()
    tokenizer = AutoTokenizer.from_pretrained(first)
    ids = (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id)
    assert (len(tokenizer), *ids) == (260, 0, 0, 0)
    strange = "  lower\n\tüber — 日本 def f(x): pass "
    assert tokenizer.decode(tokenizer(strange)["input_ids"]) == strange
    # 256 bytes and the end token leave three merges: they make "salt" one token, the last one.
    assert tokenizer("salt")["input_ids"] == [259]


def test_a_vocabulary_that_the_text_cannot_fill_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="vocab_size 5000 cannot be had from this text"):
        train_tokenizer(tmp_path / "out", original_of(tmp_path / "original"), 5000)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="no kind 'poems'"):
        build(tmp_path / "out", kind="poems")


@pytest.mark.parametrize(
    ("n_characters", "kept"),
    [(None, "DM: a\nDM: b\n"), (12, "DM: a\nDM: b\n"), (11, "DM: a\n"), (2, "DM: a\n")],
)
def test_training_episodes_are_shortened_to_whole_lines(
    tmp_path: Path, n_characters: int | None, kept: str
) -> None:
    turns = [{"speaker": "DM", "text": "a"}, {"speaker": "DM", "text": "b"}]
    path = tmp_path / "sessions.jsonl"
    late = [*turns, {"speaker": "DM", "text": "c"}]
    path.write_text(lines({"episode": "E1", "turns": turns}, {"episode": "E2", "turns": late}))
    settings = {"held_out_episodes": 1, "episode_characters": n_characters}
    out = build(tmp_path / "out", kind="sessions", path=str(path), **settings)
    assert pd.read_parquet(out / "train.parquet")["text"].tolist() == [kept]
    assert pd.read_parquet(out / "held_out.parquet")["text"].tolist() == ["DM: a\nDM: b\nDM: c\n"]

"""params.yaml: every kind of fault is one line with place, value and nearest spelling."""

import pytest
import yaml

from palimpsest import params as P
from palimpsest.core.plug_ins import kinds, plug_in
from palimpsest.faults import Fault


def smallest() -> dict:
    """Return the smallest complete parameter file."""
    return {
        "corpora": {
            "original": {"train": "data/train.jsonl", "held_out": "data/held_out.jsonl"},
            "new": {"path": "data/new.jsonl"},
            "questions": {"path": "data/questions.jsonl"},
            "tokenizer": {"vocab_size": 512},
        },
        "models": {
            "pretraining": {"n_tokens": 1000, "learning_rate": 0.001},
            "sizes": {"tiny": {"hidden_size": 16, "layers": 2, "heads": 2}},
        },
        "experiments": {"replay": {"model": "tiny", "replay_fraction": [0.0, 0.5]}},
        "evals": {"tasks": ["lambada_local"]},
        "fits": {"laws": ["power"]},
    }


def changed(place: str, value: object) -> dict:
    """Return the smallest file with one leaf set; None removes it."""
    content = smallest()
    *parents, last = place.split("/")
    node = content
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = value
    if value is None:
        del node[last]
    return content


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Write content as study.yaml and load it."""
    monkeypatch.chdir(tmp_path)

    def write_and_load(content: object) -> P.Params:
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        (tmp_path / "study.yaml").write_text(text, "utf-8")
        return P.load(tmp_path.joinpath("study.yaml").relative_to(tmp_path))

    return write_and_load


def fault(load, content: object) -> str:
    with pytest.raises(Fault) as raised:
        load(content)
    return str(raised.value)


ONE_LINE = {
    "unknown section": ("repot", {}, "study.yaml: repot: unknown key; did you mean report?"),
    "unknown key": (
        "models/pretraining/warmup_fractoin",
        0.1,
        "study.yaml: models.pretraining.warmup_fractoin: unknown key; "
        "did you mean warmup_fraction?",
    ),
    "unknown key below a name": (
        "models/sizes/tiny/hiden_size",
        8,
        "study.yaml: models.sizes.tiny.hiden_size: unknown key; did you mean hidden_size?",
    ),
    "unlike any key": (
        "fits/zzz",
        1,
        "study.yaml: fits.zzz: unknown key; known: laws, bootstrap, seed, tolerance_nats",
    ),
    "missing": (
        "corpora/questions/path",
        None,
        "study.yaml: corpora.questions.path: missing; docs/parameters.md says what belongs there",
    ),
    "no source": (
        "corpora/new/path",
        None,
        "study.yaml: corpora.new: give path, dataset or archive (got {})",
    ),
    "a data set without a number": (
        "corpora/original",
        {"dataset": {"repo": "owner/name", "revision": "main"}, "held_out_documents": 5},
        "study.yaml: corpora.original: max_documents says how many documents of the dataset to "
        "stream (got {'dataset': {'repo': 'owner/name', 'revision': 'main'}, "
        "'held_out_documents': 5})",
    ),
    "a model without revision": (
        "models/hub",
        {"mine": {"repo": "owner/name"}},
        "study.yaml: models.hub.mine: revision belongs to repo: a commit, or a branch such as "
        "step3000 (got {'repo': 'owner/name'})",
    ),
    "not a number": (
        "probe/batches",
        "many",
        "study.yaml: probe.batches: expected a whole number (got 'many')",
    ),
    "out of range": (
        "optimizer/beta1",
        1.5,
        "study.yaml: optimizer.beta1: expected a number less than 1 (got 1.5)",
    ),
    "infinite": (
        "models/pretraining/learning_rate",
        float("inf"),
        "study.yaml: models.pretraining.learning_rate: expected a finite number (got inf)",
    ),
    "in a list": (
        "probe/landscape_replay",
        [0.0, 1.5],
        "study.yaml: probe.landscape_replay.1: expected a number less than or equal to 1 (got 1.5)",
    ),
    "heads do not divide": (
        "models/sizes/tiny/heads",
        3,
        "study.yaml: models.sizes.tiny: heads 3 does not divide hidden_size 16 "
        "(got {'heads': 3, 'hidden_size': 16, 'layers': 2})",
    ),
    "absolute path": (
        "corpora/new/path",
        "/home/me/new.jsonl",
        "study.yaml: corpora.new.path: must be a path below the project's root, so that a clone "
        "finds it (got '/home/me/new.jsonl')",
    ),
    "path outside": (
        "evals/task_dir",
        "../tasks",
        "study.yaml: evals.task_dir: must be a path below the project's root, so that a clone "
        "finds it (got '../tasks')",
    ),
    "a decrease of nothing": (
        "probe/decreases",
        [0.0, 0.05],
        "study.yaml: probe.decreases: must be different shares below 1, none of them 0 "
        "(got [0.0, 0.05])",
    ),
    "rates that fall": (
        "probe/rates",
        {"lowest": 1.0, "highest": 0.1},
        "study.yaml: probe.rates: lowest 1 is not below highest 0.1 "
        "(got {'highest': 0.1, 'lowest': 1.0})",
    ),
    "no task": (
        "evals/tasks",
        [],
        "study.yaml: evals.tasks: expected at least one (got [])",
    ),
    "unknown law": (
        "fits/laws",
        ["powre"],
        "study.yaml: fits.laws: 'powre' is unknown; did you mean power?",
    ),
}


@pytest.mark.parametrize(("place", "value", "line"), ONE_LINE.values(), ids=ONE_LINE)
def test_a_fault_is_one_line_with_place_value_and_nearest_spelling(load, place, value, line):
    assert fault(load, changed(place, value)) == line


def test_two_faults_are_two_lines(load):
    content = changed("fits/tolerance_nats", 0) | {"repot": {}}
    assert [line.split(": ")[1] for line in fault(load, content).splitlines()] == [
        "fits.tolerance_nats",
        "repot",
    ]


@pytest.mark.parametrize("section", ["experiments", "models/sizes"])
@pytest.mark.parametrize("name", ["a/b", "../x", "-x", ".x", "a b", "ä", "x" * 41, "a\n"])
def test_names_that_could_not_be_folders_are_refused(load, section, name):
    own = smallest()
    value = own["experiments"]["replay"] if section == "experiments" else {}
    content = changed(f"{section}/x", value or own["models"]["sizes"]["tiny"])
    node = content["experiments"] if section == "experiments" else content["models"]["sizes"]
    node[name] = node.pop("x")
    line = fault(load, content)
    assert f"{section.replace('/', '.')}.{name}: a name holds only letters" in line


def test_names_of_letters_digits_dot_dash_underscore_pass(load):
    content = changed("experiments/Memory-1.5_b", smallest()["experiments"]["replay"])
    assert "Memory-1.5_b" in load(content).experiments


@pytest.mark.parametrize(
    ("text", "number"), [("1e-4", 1e-4), ("-2E3", -2000.0), ("3.e+2", 300.0), ("+1.5e-1", 0.15)]
)
def test_numbers_that_yaml_reads_as_text_are_numbers_at_any_depth(load, text, number):
    params = yaml.safe_dump(smallest()).replace(
        "replay_fraction:", "rates: [XX]\n    deep: {a: XX}\n    replay_fraction:"
    )
    own = load(params.replace("XX", text)).experiments["replay"]
    assert own["rates"] == [number]
    assert own["deep"] == {"a": number}


def test_text_that_only_begins_like_a_number_stays_text(load):
    content = changed("report/title", "1e-4x")
    assert load(content).report.title == "1e-4x"


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("a: [1", "study.yaml:1: not YAML: while parsing a flow sequence, expected ',' or ']'"),
        ("a: 1\nb: c: d\n", "study.yaml:2: not YAML: mapping values are not allowed here (column"),
        ("a: \x07", "study.yaml: not YAML: the character '\\x07' is not allowed in it"),
        ("", "study.yaml: expected sections such as corpora: and experiments:"),
        ("- 1\n- 2\n", "study.yaml: expected sections such as corpora: and experiments:"),
        (
            "? [a]\n: b\n",
            "study.yaml:1: not YAML: while constructing a mapping, found unhashable key",
        ),
    ],
)
def test_what_is_no_mapping_is_refused_in_one_line(load, text, end):
    line = fault(load, text)
    assert line.startswith(end)
    assert "\n" not in line


def test_a_key_written_twice_is_refused(load):
    text = yaml.safe_dump(smallest())
    line = fault(load, text + "experiments:\n  other: {model: tiny}\n")
    assert line == "study.yaml:32: not YAML: 'experiments' is written twice (column 1)"
    assert "\n" not in line


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(Fault, match=rf"{path}: there is no such file"):
            P.load(path)


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "study.yaml").write_bytes(b"a: \xff")
    with pytest.raises(Fault, match=r"study\.yaml: not UTF-8 text: invalid start byte at byte 3"):
        P.load(tmp_path / "study.yaml")


def test_a_section_named_by_a_number_is_refused(load):
    assert "study.yaml: 1" in fault(load, smallest() | {1: {}})


def test_a_study_without_experiments_is_refused(load):
    line = fault(load, smallest() | {"experiments": {}})
    assert line.startswith("study.yaml: experiments: expected at least one")


def test_parameters_are_frozen(load):
    with pytest.raises(ValueError, match="frozen"):
        load(smallest()).fits.bootstrap = 5


@pytest.mark.parametrize("package", ["policies", "streams", "laws"])
def test_each_plug_in_is_a_file_of_its_own(package):
    folder = P.Path(P.__file__).parent / "core" / package
    known = kinds(package)
    assert {"policies": "hold", "streams": "chunks", "laws": "power"}[package] in known
    assert all((folder / f"{kind}.py").is_file() for kind in known)


def test_an_unknown_plug_in_names_the_nearest():
    with pytest.raises(Fault, match=r"experiments\.x\.policy\.kind: 'hodl' is unknown; .* hold\?"):
        plug_in("policies", "hodl", "experiments.x.policy")


@pytest.mark.parametrize("revision", ["main", "v1.0", "218ec5", "218EC52E", "a" * 41])
def test_data_of_benchmarks_are_pinned_by_a_commit(tmp_path, revision):
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(changed("evals/revisions", {"hellaswag": revision})))
    with pytest.raises(Fault) as told:
        P.load(file)
    assert str(told.value) == (
        f"{file}: evals.revisions.hellaswag: must be a commit, 7 to 40 hexadecimal digits, since "
        f"branches and tags move (got {revision!r})"
    )


@pytest.mark.parametrize("revision", ["218ec52", "218ec52e09a7e7462a5400043bb9a69a41d06b76"])
def test_a_commit_may_be_short(tmp_path, revision):
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(changed("evals/revisions", {"hellaswag": revision})))
    assert P.load(file).evals.revisions == {"hellaswag": revision}

"""dvc.yaml against the code: each stage's modules, and what a changed parameter calls."""

import ast
import copy
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml

from palimpsest import params as P
from palimpsest.plan import CODE_SUFFIXES, Plan, Stages

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
CORE = SOURCE / "palimpsest" / "core"
DECLARED = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
SHARED_BY_ALL = {"palimpsest.progress", "palimpsest.faults"}  # what they do changes no number


# Code


def file_of(module: str) -> Path | None:
    """Return the file of a dotted name; None if it names no module, or one without a statement."""
    path = SOURCE / Path(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            body = ast.parse(file.read_text("utf-8")).body
            return file if len(body) > 1 else None  # one statement: the docstring
    return None


def imports(file: Path) -> set[Path]:
    """Return the files of palimpsest that run when a file is imported or its functions called."""
    names = set()
    for node in running(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "load":
            names |= {law_of(argument) for argument in node.args}
    around = {name for dotted in names for name in itertools.accumulate(dotted.split("."), joined)}
    own = {name for name in around if name.startswith("palimpsest.")} - SHARED_BY_ALL
    return {path for name in own if (path := file_of(name))}


def running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one, but for what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield child
            yield from running(child)


def law_of(argument: ast.expr) -> str:
    """Return the module of a law that is asked for by a fixed name, such as load("power")."""
    name = str(argument.value) if isinstance(argument, ast.Constant) else ""
    return f"palimpsest.core.laws.{name.replace('-', '_')}"


def joined(package: str, name: str) -> str:
    return f"{package}.{name}"


def closure(files: Iterable[Path]) -> set[Path]:
    """Return some files and all that they import, directly or through others."""
    found: set[Path] = set()
    ends = list(files)
    while ends:
        file = ends.pop()
        if file not in found:
            found.add(file)
            ends += imports(file)
    return found


def plug_in_files(package: str) -> set[Path]:
    return {CORE / package / f"{kind}.py" for kind in P.plug_ins(package)}


def asks_by_name(file: Path, package: str) -> bool:
    """Return whether a file uses what a package itself offers: the way to its plug-ins by name."""
    asked = {
        alias.name
        for node in running(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == f"palimpsest.core.{package}"
        for alias in node.names
    }
    return any(not (CORE / package / f"{name}.py").is_file() for name in asked)


def code(stage: str) -> tuple[set[Path], set[str]]:
    """Return the files that a stage always runs, and the packages whose plug-ins it names."""
    files = closure([SOURCE / "palimpsest" / "stages" / f"{stage}.py"])
    packages = {
        name for name in P.PLUG_IN_FOLDERS if any(asks_by_name(file, name) for file in files)
    }
    for package in packages:
        named = plug_in_files(package)
        files |= closure(named) - named
    if any("PackageLoader(" in file.read_text("utf-8") for file in files):
        files |= set((SOURCE / "palimpsest" / "templates").iterdir())
    return files, packages


def declared(stage: str) -> set[str]:
    """Return the files that dvc.yaml lists; a folder stands for its files, one of plug-ins not."""
    paths = {ROOT / dep for dep in DECLARED[stage]["deps"] if dep.startswith("src/")}
    whole = {path for path in paths if path.is_dir() and path.name not in P.PLUG_IN_FOLDERS}
    inside = {file for folder in whole for file in folder.rglob("*") if has_code(file)}
    return {path.relative_to(ROOT).as_posix() for path in paths - whole | inside}


def has_code(file: Path) -> bool:
    """Return whether a file counts: code with a statement beside its docstring, or a template."""
    if file.suffix == ".py":
        return len(ast.parse(file.read_text("utf-8")).body) > 1
    return file.suffix in CODE_SUFFIXES


@pytest.mark.parametrize("stage", DECLARED)
def test_a_stage_declares_exactly_the_code_that_it_runs(stage):
    files, packages = code(stage)
    needed = {file.relative_to(ROOT).as_posix() for file in files}
    needed |= {f"src/palimpsest/core/{package}" for package in packages}
    assert sorted(needed - declared(stage)) == [], "missing in dvc.yaml"
    assert sorted(declared(stage) - needed) == [], "superfluous in dvc.yaml"


@pytest.mark.parametrize("stage", DECLARED)
def test_a_stage_imports_nothing_that_all_share_and_no_other_stage(stage):
    files, _ = code(stage)
    below = {file.relative_to(SOURCE / "palimpsest").parts[0] for file in files}
    assert below <= {"core", "stages", "templates"}
    assert [file.stem for file in files if file.parent.name == "stages"] == [stage]


def test_every_stage_calls_its_own_rule_and_keeps_its_folder():
    for name, stage in DECLARED.items():
        assert stage["cmd"] == f"snakemake --cores all stage_{name}"
        assert {f"runs/{name}": {"persist": True}} in stage["outs"]
        assert (ROOT / "workflow" / "rules" / f"{name}.smk").is_file()


def test_no_output_of_one_stage_lies_in_that_of_another():
    outs = [Path(next(iter(out))) for stage in DECLARED.values() for out in stage["outs"]]
    assert not [(a, b) for a in outs for b in outs if a != b and a.is_relative_to(b)]


def test_the_stages_are_the_modules():
    modules = (SOURCE / "palimpsest" / "stages").glob("[a-z]*.py")
    assert set(DECLARED) == {file.stem for file in modules}


# Parameters


EVERYTHING = {
    "plain": {"model": ["neox-6k", "neox-25k"], "replay_fraction": [0.0, 0.5, 1.0]},
    "asked": {
        "model": "neox-6k",
        "seed": 1,
        "stream": {
            "kind": "questions",
            "sequence_length": 64,
            "n_batches": 5,
        },
        "policy": {"kind": "fixed", "learning_rate": 0.001},
    },
    "chain": {
        "model": "neox-6k",
        "phases": [
            {"epochs": 2, "checkpoints": {"kind": "log", "count": 2}},
            {"replay_fraction": {"start": 0.5, "end": 0.1}, "carry_optimizer": True},
            {"policy": {"kind": "cosine", "learning_rate": 0.001}, "optimizer": {"kind": "sgd"}},
        ],
    },
}


@pytest.fixture(scope="module", autouse=True)
def at_the_root():
    """Plan in the project's own folder: planning writes nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield


@pytest.fixture(scope="module")
def everything():
    """Return a study that uses every section, as plain content."""
    study = yaml.safe_load((ROOT / "studies" / "smoke.yaml").read_text("utf-8"))
    return study | {"experiments": EVERYTHING}


@pytest.fixture(scope="module")
def before(everything):
    return planned(everything)


@pytest.fixture(scope="module")
def changes(everything):
    """Return the plan after a change of each leaf, by the leaf's place."""
    return {place: planned(with_another(everything, place)) for place in leaves(everything)}


def leaves(node: object, place: tuple = ()) -> Iterator[tuple]:
    """Yield the place of each leaf; a list of plain values is one leaf."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*place, key))
    elif isinstance(node, list) and any(isinstance(item, dict) for item in node):
        for number, item in enumerate(node):
            yield from leaves(item, (*place, number))
    else:
        yield place


OTHER: dict[str, object] = {  # leaves whose neighbour by rule would be no valid value
    "path": "data/mini_pile_held_out.jsonl.xz",
    "train": "data/mini_pile_held_out.jsonl.xz",
    "held_out": "data/mini_pile_train.jsonl.xz",
    "task_dir": "data/build",
    "model": "neox-25k",
    "laws": ["constant"],
    "tasks": ["lambada_local"],
    "title": "Other",
    "decrease": 0.01,
    "decreases": [0.01, 0.05, 0.2],
    "beta1": 0.5,
    "beta2": 0.5,
    "heads": 1,
    "landscape_replay": [0.0, 0.5],
    "hidden_size": 64,
}
WITH_KIND = {  # another kind brings other fields
    "adamw": {"kind": "sgd"},
    "sgd": {"kind": "adamw"},
    "hold": {"kind": "fixed", "learning_rate": 0.002},
    "fixed": {"kind": "fixed", "learning_rate": 0.002},
    "cosine": {"kind": "fixed", "learning_rate": 0.002},
    "log": {"kind": "final"},
    "chunks": {"kind": "chunks", "sequence_length": 32, "batch_tokens": 128},
    "questions": {"kind": "questions", "sequence_length": 64, "n_batches": 6},
}


def with_another(study: dict, place: tuple) -> dict:
    """Return a copy of a study with one leaf changed, valid again."""
    changed = copy.deepcopy(study)
    node = changed
    for part in place[:-1]:
        node = node[part]
    value = node[place[-1]]
    if place[-1] == "kind":
        new = WITH_KIND[value]
        node.clear()
        node.update(new)
    else:
        node[place[-1]] = another(place[-1], value)
    return changed


def another(name: object, value: object) -> object:
    """Return another value of the same type."""
    if OTHER.get(str(name), value) != value:
        return OTHER[str(name)]
    if isinstance(value, list):
        return [another(name, value[0]), *value[1:]]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.5 or 0.25
    return "neox-6k"


def planned(study: dict) -> Plan:
    return Plan(P.Params(**study), Stages(ROOT / "dvc.yaml"))


def re_keyed(old: Plan, new: Plan) -> set[str]:
    """Return the stages whose index is another."""
    return {stage for stage in DECLARED if old.index_key(stage) != new.index_key(stage)}


def called(section: str, changed: set[str]) -> set[str]:
    """Return the stages that DVC calls: they declare the section, or an input of theirs changed."""
    found: set[str] = set()
    for name, stage in DECLARED.items():
        inputs = {dep.removeprefix("runs/") for dep in stage["deps"]}
        if section in stage.get("params", []) or inputs & found & changed:
            found.add(name)
    return found


def test_dvc_calls_every_stage_that_a_changed_leaf_re_keys(before, changes):
    forgotten = {}
    for place, after in changes.items():
        changed = re_keyed(before, after)
        if missed := changed - called(str(place[0]), changed):
            forgotten[".".join(map(str, place))] = sorted(missed)
    assert forgotten == {}


def test_every_leaf_re_keys_something(before, changes):
    """A parameter that changes nothing is no parameter."""
    assert [place for place, after in changes.items() if not re_keyed(before, after)] == []


def test_a_section_is_declared_only_where_some_leaf_of_it_re_keys(before, changes, everything):
    needed: dict[str, set[str]] = {stage: set() for stage in DECLARED}
    plain = everything | {"experiments": {"plain": EVERYTHING["plain"]}}
    asking = everything["phase"] | {"stream": WITH_KIND["questions"]}
    pairs = [(place[0], before, after) for place, after in changes.items()]
    pairs += [("phase", planned(plain), planned(plain | {"phase": asking}))]
    pairs += [("experiments", planned(plain), before)]
    for section, old, new in pairs:
        for stage in DECLARED:
            if set(new.by_stage[stage]) != set(old.by_stage[stage]):
                needed[stage].add(str(section))
    for stage, content in DECLARED.items():
        assert set(content.get("params", [])) <= needed[stage], stage


RENAMED = {"simple" if name == "plain" else name: own for name, own in EVERYTHING.items()}
STRUCTURES = {
    "renamed": RENAMED,
    "another order": dict(reversed(EVERYTHING.items())),
    "one less": {name: own for name, own in EVERYTHING.items() if name != "chain"},
    "one twice": EVERYTHING | {"again": EVERYTHING["plain"]},
    "a phase less": EVERYTHING | {"chain": {"model": "neox-6k", "phases": [{"epochs": 2}]}},
}


@pytest.mark.parametrize("experiments", STRUCTURES.values(), ids=STRUCTURES)
def test_dvc_calls_every_stage_that_other_experiments_re_key(everything, before, experiments):
    changed = re_keyed(before, planned(everything | {"experiments": experiments}))
    assert changed - called("experiments", changed) == set()

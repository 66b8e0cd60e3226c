"""dvc.yaml against the code: each stage lists exactly the modules that it runs."""

import ast
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml

from palimpsest import params as P
from palimpsest.core.plug_ins import kinds
from palimpsest.plan import CODE_SUFFIXES

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
CORE = SOURCE / "palimpsest" / "core"
DECLARED = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
# What they do changes no number.
SHARED_BY_ALL = {"palimpsest.progress", "palimpsest.faults", "palimpsest.known"}


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
    return {CORE / package / f"{kind}.py" for kind in kinds(package)}


def asks_by_name(file: Path, package: str) -> bool:
    """Return whether a file asks for plug-ins of a package by name, itself or of the package."""
    nodes = list(running(ast.parse(file.read_text("utf-8"))))
    asked = {
        alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == f"palimpsest.core.{package}"
        for alias in node.names
    }
    return any(not (CORE / package / f"{name}.py").is_file() for name in asked) or any(
        isinstance(node, ast.Call)
        and ast.unparse(node.func) == "plug_in"
        and ast.unparse(node.args[0]) == repr(package)
        for node in nodes
    )


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
    files |= {data for file in files for data in named_data(file)}
    return files, packages


def named_data(file: Path) -> list[Path]:
    """Return the tables beside a module that it names."""
    text = file.read_text("utf-8")
    return [table for table in file.parent.glob("*.csv") if table.name in text]


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

"""What DVC holds may go and come back; what it does not hold stays."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from palimpsest import store, verifying
from palimpsest.faults import Fault
from palimpsest.pruning import Leftover, leftovers, remove
from palimpsest.restoring import lost, take_back
from palimpsest.vault import Vault

NAMED = {"GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.org"}
NAMED |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in NAMED.items()}
STAGE = """\
stages:
  fits:
    cmd: "true"
    outs:
      - runs/fits: {persist: true}
"""


class Asked:
    """The part of a schedule that pruning reads: which artifacts the params ask for."""

    order = ("fits",)

    def __init__(self, *names: str):
        self.names = names

    def wanted(self, stage: str) -> tuple[str, ...]:
        return self.names


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, env=os.environ | NAMED, capture_output=True)


def record(message: str) -> None:
    """Let DVC record what lies in runs/fits, and git the lock."""
    from dvc.repo import Repo

    with Repo() as repo:
        repo.commit("fits", force=True)
    git("add", "--all")
    git("commit", "--quiet", "-m", message)


def built(name: str, content: str = "1") -> Path:
    folder = store.artifact("fits", name)
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "number").write_text(content)
    store.write_json(folder / store.META, {"name": name})
    store.list_files(folder)
    return folder


def park(name: str) -> Path:
    store.parked("fits", name).parent.mkdir(parents=True, exist_ok=True)
    return store.artifact("fits", name).rename(store.parked("fits", name))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A project whose first commit names a-1 and b-2. Not to be changed."""
    from dvc.repo import Repo

    folder = tmp_path_factory.mktemp("first") / "project"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        git("init", "--quiet", "--initial-branch", "main")
        Repo.init().close()
        Path("dvc.yaml").write_text(STAGE)
        Path(".gitignore").write_text("/runs/\n/.work/\n/remote/\n")
        built("a-1")
        built("b-2")
        record("first")
    return folder


@pytest.fixture(autouse=True)
def recorded(first, tmp_path, monkeypatch):
    """A copy of the project, to be changed."""
    shutil.copytree(first, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")


def found(*asked: str) -> dict[str, str]:
    """Return why each leftover stays, empty if it may go, by its place."""
    return {str(item.path): item.kept for item in leftovers(Asked(*asked), Vault())}


# Prune


def test_what_a_commit_names_and_the_cache_holds_may_go():
    park("a-1")
    assert found("b-2") == {".work/attic/fits/a-1": ""}


def test_an_artifact_in_runs_that_nobody_asks_for_may_go():
    assert found("b-2") == {"runs/fits/a-1": ""}


def test_what_no_commit_names_stays():
    built("c-3")
    park("c-3")
    kept = "no commit's dvc.lock names it"
    assert found("a-1", "b-2") == {".work/attic/fits/c-3": kept}


def test_what_is_recorded_but_not_committed_stays():
    """The next run replaces dvc.lock; then nothing would name it."""
    built("c-3")
    from dvc.repo import Repo

    with Repo() as repo:
        repo.commit("fits", force=True)
    park("c-3")
    kept = "no commit's dvc.lock names it"
    assert found("a-1", "b-2") == {".work/attic/fits/c-3": kept}
    git("add", "--all")
    git("commit", "--quiet", "-m", "with c-3")
    assert found("a-1", "b-2") == {".work/attic/fits/c-3": ""}


def test_an_earlier_commit_is_enough():
    park("a-1")
    record("second: without a-1")
    assert found("b-2") == {".work/attic/fits/a-1": ""}


def test_other_bytes_stay():
    (park("a-1") / "deep" / "number").write_text("2")
    assert found("b-2") == {".work/attic/fits/a-1": "DVC holds other bytes of it"}


def test_a_file_more_stays():
    (park("a-1") / "note.txt").write_text("mine")
    assert found("b-2") == {".work/attic/fits/a-1": "DVC holds other bytes of it"}


def empty_cache(*, keep_lists: bool = True) -> None:
    for path in Path(".dvc/cache/files/md5").rglob("*"):
        if path.is_file() and not (keep_lists and path.suffix == ".dir"):
            path.chmod(0o644)
            path.unlink()


def test_what_the_cache_lost_stays():
    park("a-1")
    empty_cache()
    kept = "its files are neither in DVC's cache nor on the remote"
    assert found("b-2") == {".work/attic/fits/a-1": kept}


def test_what_is_on_the_remote_may_go():
    push()
    park("a-1")
    empty_cache(keep_lists=False)
    assert found("b-2") == {".work/attic/fits/a-1": ""}


def push() -> None:
    from dvc.repo import Repo

    with Repo() as repo, repo.config.edit("local") as config:
        config["remote"]["copy"] = {"url": str(Path("remote").resolve())}
        config["core"]["remote"] = "copy"
    with Repo() as repo:
        repo.push()


def test_the_scratch_of_what_stands_may_go_and_what_could_resume_stays():
    stands, resumes = store.new_attempt("fits", "a-1"), store.new_attempt("fits", "d-4")
    for attempt in (stands, resumes):
        (attempt / "resume.pt").write_text("state")
    assert found("a-1", "b-2") == {".work/scratch/fits/a-1": ""}


def test_removed_is_removed():
    folder = park("a-1")
    remove(Leftover(folder, "parked", 1))
    assert not folder.exists()


def test_what_a_killed_prune_left_goes_the_next_time():
    """It was killed after one file, or after all files and before their folder."""
    folder = park("a-1")
    (folder / store.FILES).unlink()
    assert found("b-2") == {".work/attic/fits/a-1": ""}
    shutil.rmtree(folder / "deep")
    assert found("b-2") == {".work/attic/fits/a-1": ""}
    (folder / store.META).unlink()
    assert found("b-2") == {".work/attic/fits/a-1": ""}


def test_the_rest_of_an_artifact_stays_if_its_bytes_are_others():
    folder = park("a-1")
    (folder / store.FILES).unlink()
    (folder / "deep" / "number").write_text("2")
    assert found("b-2") == {".work/attic/fits/a-1": "DVC holds other bytes of it"}


# A remote that does not answer


def use_remote(url: str) -> None:
    from dvc.repo import Repo

    with Repo() as repo, repo.config.edit("local") as config:
        config["remote"]["far"] = {"url": url}
        config["core"]["remote"] = "far"


@pytest.fixture(params=["s3://nobody/x", "file"])
def unreachable(request) -> str:
    """A remote whose plug-in is not installed, and one below what is no folder."""
    Path("plain").write_text("")
    url = str(Path("plain").resolve() / "store") if request.param == "file" else request.param
    use_remote(url)
    return url


@pytest.mark.parametrize("keep_lists", [True, False])
def test_prune_says_in_one_line_that_the_remote_does_not_answer(unreachable, keep_lists):
    park("a-1")
    empty_cache(keep_lists=keep_lists)
    with pytest.raises(Fault) as told:
        found("b-2")
    assert str(told.value).startswith(f"DVC remote far ({unreachable}): ")
    assert str(told.value).endswith("to do without: `dvc remote default --unset`")
    assert "\n" not in str(told.value)


def test_restore_says_in_one_line_that_the_remote_does_not_answer(unreachable):
    files = Vault().named_by("HEAD")["fits", "a-1"][0]
    shutil.rmtree("runs/fits/a-1")
    empty_cache()
    with pytest.raises(Fault, match=r"^DVC remote far \("):
        take_back(Vault(), "fits", "a-1", files)


# Restore


def test_an_earlier_commits_artifacts_come_back_into_the_attic():
    before = (store.artifact("fits", "a-1") / "deep" / "number").read_bytes()
    remove(Leftover(park("a-1"), "parked", 1))
    record("second: without a-1")
    vault = Vault()
    (artifact,) = lost(vault, revision="HEAD~1", stages=("fits",)).items()
    (stage, name), files = artifact
    assert (stage, name) == ("fits", "a-1")
    take_back(vault, stage, name, files)
    assert store.whole(store.parked("fits", "a-1"))
    assert (store.parked("fits", "a-1") / "deep" / "number").read_bytes() == before
    assert lost(Vault(), revision="HEAD~1", stages=("fits",)) == {}


def test_restored_files_share_nothing_with_the_cache():
    remove(Leftover(park("a-1"), "parked", 1))
    vault = Vault()
    ((key, files),) = lost(vault, revision="HEAD", stages=("fits",)).items()
    take_back(vault, *key, files)
    cache = {path.stat().st_ino for path in Path(".dvc/cache").rglob("*")}
    parked = [path for path in store.parked("fits", "a-1").rglob("*") if path.is_file()]
    assert not {path.stat().st_ino for path in parked} & cache
    assert all(os.access(path, os.W_OK) for path in parked)


def test_the_remote_gives_back_what_the_cache_lost():
    push()
    remove(Leftover(park("a-1"), "parked", 1))
    empty_cache(keep_lists=False)
    vault = Vault()
    ((key, files),) = lost(vault, revision="HEAD", stages=("fits",)).items()
    take_back(vault, *key, files)
    assert (store.parked("fits", "a-1") / "deep" / "number").read_text() == "1"


def test_what_is_nowhere_is_told_in_one_line():
    remove(Leftover(park("a-1"), "parked", 1))
    empty_cache()
    vault = Vault()
    ((key, files),) = lost(vault, revision="HEAD", stages=("fits",)).items()
    with pytest.raises(Fault, match=r"^runs/fits/a-1: 3 of 3 files are neither in DVC's cache"):
        take_back(vault, *key, files)
    assert not store.parked("fits", "a-1").exists()


def test_a_commit_that_does_not_exist():
    with pytest.raises(Fault, match=r"^nonsense: no such commit, tag or branch"):
        lost(Vault(), revision="nonsense", stages=("fits",))


def test_a_commit_without_a_lock():
    git("rm", "--cached", "--quiet", "dvc.lock")
    git("commit", "--quiet", "-m", "no lock")
    with pytest.raises(Fault, match=r"^HEAD: has no dvc\.lock"):
        lost(Vault(), revision="HEAD", stages=("fits",))


# Verify, against DVC (test_verifying.py has the rest)


def test_a_flipped_byte_differs_from_what_dvc_recorded(monkeypatch):
    monkeypatch.setattr(verifying, "_in_the_weights", lambda folder: iter(()))
    folder, named = store.artifact("fits", "a-1"), Vault().named_by()
    assert verifying.damage(folder, named) == []
    (folder / "deep" / "number").write_text("2")
    assert verifying.damage(folder, named) == ["deep/number: not what DVC recorded"]

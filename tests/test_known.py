"""Results by content: computed once, copied whole, safe when two write at once."""

from pathlib import Path

from palimpsest.known import PARTS, once

PARTS_OF_IT = {"weights": "5ha", "limit": 3}


def asked(tmp_path: Path, calls: list[str], *, by: str = "", known: str = "known") -> bytes:
    """Ask for one file, computed by writing what computed it; return what stands in it."""
    out = tmp_path / "out.txt"
    out.unlink(missing_ok=True)

    def compute() -> None:
        calls.append(by)
        out.write_text(by)

    once(tmp_path / known, PARTS_OF_IT, [out], compute)
    return out.read_bytes()


def test_what_is_known_is_copied(tmp_path: Path) -> None:
    calls: list[str] = []
    assert asked(tmp_path, calls, by="first") == asked(tmp_path, calls, by="second") == b"first"
    assert calls == ["first"]


def test_a_damaged_entry_is_computed_again_and_replaced(tmp_path: Path) -> None:
    for damaged, damage in (("out.txt", b"fir"), (PARTS, b"{"), (PARTS, b"{}"), (PARTS, b"[]")):
        calls: list[str] = []
        known = f"{damaged}-{damage.decode()}"
        asked(tmp_path, calls, by="first", known=known)
        (entry,) = (tmp_path / known).iterdir()
        (entry / damaged).write_bytes(damage)
        assert asked(tmp_path, calls, by="second", known=known) == b"second"
        assert asked(tmp_path, calls, by="third", known=known) == b"second"
        assert calls == ["first", "second"]


def test_of_two_writers_the_first_stays_and_each_keeps_its_own_file(tmp_path: Path) -> None:
    out, other, known = tmp_path / "out.txt", tmp_path / "a" / "out.txt", tmp_path / "known"
    other.parent.mkdir()

    def overtaken() -> None:
        once(known, PARTS_OF_IT, [other], lambda: bool(other.write_text("fast")) or None)
        out.write_text("slow")

    assert not once(known, PARTS_OF_IT, [out], overtaken)
    assert (out.read_text(), other.read_text()) == ("slow", "fast")
    (entry,) = known.iterdir()
    assert (entry / "out.txt").read_text() == "fast"

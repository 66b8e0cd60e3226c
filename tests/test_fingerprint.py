"""The fingerprint of code: blind to what changes no meaning, awake to everything else."""

from pathlib import Path

import pytest

from palimpsest.fingerprint import digest, fingerprint, of_source

SOURCE = '''"""What this module does."""

import math

RATE = 1.5  # of what


class Box:
    """A box."""

    size: int = 3

    def area(self, *, scale: float = 2.0) -> float:
        """Return the area."""
        return scale * self.size**2


async def main(x, /, *rest):
    """Run."""
    return [f"{a:.2f} of {x!r}" for a in rest if (b := a) and 'yes' in "yes"]
'''

SAME = {
    "a comment gone": ("  # of what", ""),
    "a comment more": ("import math\n", "# reasons\nimport math  # more\n"),
    "another module docstring": ("What this module does", "Another"),
    "no module docstring": ('"""What this module does."""\n', ""),
    "another class docstring": ('"""A box."""', "'A crate.'"),
    "no function docstring": ('        """Return the area."""\n', ""),
    "no coroutine docstring": ('    """Run."""\n', ""),
    "blank lines": ("\n\n\nclass", "\nclass"),
    "a wrapped line": ("(self, *, scale", "(\n        self, *,\n        scale"),
    "a needless comma": ("*rest)", "*rest,)"),
    "brackets": ("scale * self.size**2", "(scale * (self.size**2))"),
    "quotes": ("'yes' in \"yes\"", "\"yes\" in 'yes'"),
    "another spelling of a number": ("1.5 ", "15e-1 "),
    "another spelling of a text": ('"yes"]', '"y" "es"]'),
}

OTHER = {
    "a number": ("1.5", "1.6"),
    "a whole number for a fraction": ("2.0", "2"),
    "a name": ("RATE", "SPEED"),
    "an operator": ("scale * self", "scale / self"),
    "an import": ("import math", "import cmath"),
    "a default": ("= 2.0", "= 3.0"),
    "a type": ("size: int", "size: float"),
    "a text": ("'yes' in", "'no' in"),
    "a format": (":.2f", ":.3f"),
    "text in a format": ("f} of {", "f} in {"),
    "a conversion": ("!r", "!s"),
    "a kind of argument": ("x, /,", "x,"),
    "keyword-only": ("self, *, ", "self, "),
    "a line less": ("    size: int = 3\n", ""),
    "the order": ("import math\n\nRATE = 1.5", "RATE = 1.5\n\nimport math"),
    "a text that is no docstring": ("RATE =", "'a text'; RATE ="),
}


def test_the_source_changes_in_each_case():
    changes = {**SAME, **OTHER}
    assert all(SOURCE.replace(*change, 1) != SOURCE for change in changes.values())


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_blind_to(change):
    assert of_source(SOURCE.replace(*change, 1)) == of_source(SOURCE)


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_sees(change):
    assert of_source(SOURCE.replace(*change, 1)) != of_source(SOURCE)


def test_every_python_version_agrees():
    """The value was computed by Python 3.11; another version must find the same."""
    assert of_source(SOURCE) == "3e4b5a1e676570c8"


def test_an_empty_docstring_is_a_docstring():
    assert of_source('def f():\n    """"""\n    return 1') == of_source("def f():\n    return 1")


def test_texts_of_an_f_string_are_joined():
    """Python 3.12 cuts the texts around doubled braces otherwise than 3.11."""
    assert of_source('f"a{{b}}c{x}d" "e"') == of_source('f"a{{b" f"}}c{x}de"')


def test_modules_are_named_by_path_and_their_order_is_indifferent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = Path("one.py"), Path("two.py")
    one.write_text("A = 1")
    two.write_text("A = 2")
    both = fingerprint([one, two])
    assert fingerprint([two, one]) == both
    one.write_text("A = 2")
    two.write_text("A = 1")
    assert fingerprint([one, two]) != both


def test_of_a_template_every_letter_counts(tmp_path):
    page = tmp_path / "page.html.j2"
    page.write_text("{# a remark #}<p>1</p>")
    before = fingerprint([page])
    page.write_text("{# another #}<p>1</p>")
    assert fingerprint([page]) != before


def test_a_digest_is_the_hash_of_content_not_of_its_order():
    assert digest({"a": 1, "b": [1.5, None]}) == digest({"b": [1.5, None], "a": 1})
    assert digest([1, 2]) != digest([2, 1])
    assert digest({}) == "44136fa355b3"  # the first digits of the SHA-256 of "{}"


def test_a_digest_refuses_what_json_cannot_say():
    with pytest.raises(ValueError, match="JSON compliant"):
        digest({"rate": float("nan")})

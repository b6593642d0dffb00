"""The proof as a page: every limit with its margin, every unit, and what is refused."""

from __future__ import annotations

from recipes.gcode_check import examine
from recipes.proof_text import proof_text
from tests.recipes.mutation_survey import Subject, subject


def page(valid: Subject, content: bytes) -> str:
    return proof_text(
        examine(content, recipe=valid.recipe, machine=valid.machine, units=valid.units, demonstration=True, purges=valid.purges)
    )


def test_a_page_has_each_limit_with_its_margin_and_each_unit():
    valid = subject("cyclophosphamide")
    text = page(valid, valid.planned)
    assert text == page(valid, valid.planned)
    assert "The proof holds." in text
    rows = {line.split("  ")[0]: line for line in text.splitlines()}
    assert rows["prime volume"].split()[2:] == ["120.000", "80", "to", "200", "uL", "33.3"]
    assert rows["flow rate"].split()[-1] == "38.4"
    assert rows["bead width"].split()[-1] == "35.4"
    assert [line.split()[:2] for line in text.splitlines() if line[:1].isdigit() and "lines," not in line] == [
        ["1", "389.310"],
        ["2", "389.310"],
    ]


def test_a_page_of_two_inks_names_the_parts():
    text = page(subject("polypill"), subject("polypill").planned)
    assert "prime volume, part 2" in text and "\n2 part 2 " in text


def test_a_page_of_a_refused_program_says_why_first():
    valid = subject("cyclophosphamide")
    lines = page(valid, valid.planned.replace(b"M104 S40\n", b"M104 S60\n")).splitlines()
    assert lines[1] == "The proof does not hold; the program must not be printed:"
    assert "M104 sets 60 degC" in lines[2]

"""Corruptions of a program for the mutation test of the proof: what a fault of writing, storing or sending could make of it.

Each takes a source of chance and the lines of a program, and changes them in place. `Corrupted` says which and on what.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

Lines = list[str]

FOREIGN = (
    "G1 E5.00000 F30.000", "G1 E0.01000 F2.000", "G1 E-0.02000", "G2 X10.000 Y10.000 I1 J1", "M500", "M104 S200", "M109 S90", "M18", "M112",
    "G0 Z0.000", "G0 Z0.100 F600.000", "G0 X35.000 Y35.000", "G0 X35.000 Y35.000 F60000.000", "M400", "G4 S30", "M155 S1", "M600", "G10",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Corrupted:
    """A corrupted program: how, and its bytes."""

    how: str
    content: bytes


def corrupt(content: bytes, seed: int) -> Corrupted:
    """Corrupt a program; equal seeds give equal bytes. The kinds are taken in turn."""
    rng = random.Random(seed)
    how = CORRUPTIONS[seed % len(CORRUPTIONS)]
    lines = content.decode("ascii").split("\n")
    how(rng, lines)
    return Corrupted(how.__name__, "\n".join(lines).encode("utf-8"))


def _where(rng: random.Random, lines: Lines, holds: Callable[[str], object]) -> int:
    return rng.choice([number for number, line in enumerate(lines) if holds(line)])


def _span(rng: random.Random, lines: Lines) -> tuple[int, int]:
    """The lines of a unit, or a part of one, with its brackets."""
    start = _where(rng, lines, lambda line: line.startswith(";UNIT"))
    return start, lines.index(f";END {lines[start][1:]}")


def _moves(line: str) -> bool:
    return line.startswith(("G0", "G1"))


def _scaled(lines: Lines, where: int, letter: str, factor: float, places: int) -> None:
    lines[where] = re.sub(rf"{letter}(-?[\d.]+)", lambda found: f"{letter}{float(found[1]) * factor:.{places}f}", lines[where])


def _digit(rng: random.Random, lines: Lines, letter: str) -> None:
    """Change one digit of a word."""
    where = _where(rng, lines, lambda line: _moves(line) and f" {letter}" in line)
    word = re.search(rf" {letter}-?[\d.]+", lines[where])
    if word is None:
        return
    places = [at for at in range(word.start(), word.end()) if lines[where][at].isdigit()]
    at = rng.choice(places)
    lines[where] = lines[where][:at] + rng.choice("0123456789") + lines[where][at + 1 :]


def dropped_line(rng: random.Random, lines: Lines) -> None:
    del lines[rng.randrange(len(lines) - 1)]


def dropped_lines(rng: random.Random, lines: Lines) -> None:
    start = rng.randrange(len(lines) - 30)
    del lines[start : start + rng.randrange(2, 30)]


def doubled_line(rng: random.Random, lines: Lines) -> None:
    where = rng.randrange(len(lines) - 1)
    lines.insert(where, lines[where])


def changed_digit_of_e(rng: random.Random, lines: Lines) -> None:
    _digit(rng, lines, "E")


def changed_digit_of_x_or_y(rng: random.Random, lines: Lines) -> None:
    _digit(rng, lines, rng.choice("XY"))


def changed_digit_of_z(rng: random.Random, lines: Lines) -> None:
    _digit(rng, lines, "Z")


def changed_digit_of_f(rng: random.Random, lines: Lines) -> None:
    _digit(rng, lines, "F")


def scaled_e(rng: random.Random, lines: Lines) -> None:
    _scaled(lines, _where(rng, lines, lambda line: " E" in line), "E", rng.choice([-1, 0, 0.1, 0.5, 0.9, 1.05, 1.5, 3, 20]), 5)


def scaled_e_of_a_unit(rng: random.Random, lines: Lines) -> None:
    start, stop = _span(rng, lines)
    factor = rng.choice([0.9, 0.97, 0.99, 0.994, 1.006, 1.01, 1.029, 1.1])
    for where in range(start, stop):
        _scaled(lines, where, "E", factor, 5)


def scaled_feed(rng: random.Random, lines: Lines) -> None:
    _scaled(lines, _where(rng, lines, lambda line: " F" in line), "F", rng.choice([0, 0.1, 0.4, 0.8, 1.2, 2, 10]), 3)


def missing_unretraction(rng: random.Random, lines: Lines) -> None:
    start, stop = _span(rng, lines)
    first = next(where for where in range(start, stop) if lines[where].startswith("G1 E"))
    del lines[first : first + rng.randint(1, 2)]


def missing_retraction(rng: random.Random, lines: Lines) -> None:
    start, stop = _span(rng, lines)
    for where in range(stop, start, -1):
        if lines[where].startswith("G1 E-"):
            del lines[where]
            if rng.random() < 0.5:
                return


def moved_unit(rng: random.Random, lines: Lines) -> None:
    start, stop = _span(rng, lines)
    by, axis = rng.choice([-40, -25, -12.5, -3, -0.8, 0.8, 3, 12.5, 25, 40]), rng.choice("XY")
    for where in range(start, stop - 3):
        lines[where] = re.sub(rf" {axis}(-?[\d.]+)", lambda found: f" {axis}{float(found[1]) + by:.3f}", lines[where])


def spread_unit(rng: random.Random, lines: Lines) -> None:
    """Make a unit larger or smaller about its middle, its volume as it was."""
    start, stop = _span(rng, lines)
    factor = rng.choice([0.8, 0.9, 0.95, 1.06, 1.12, 1.3])
    beads = [where for where in range(start, stop) if " X" in lines[where] and " E" in lines[where]]
    words = {where: lines[where].split(" ") for where in beads}
    for place in (1, 2) if beads else ():
        values = {where: float(words[where][place][1:]) for where in beads}
        middle = (min(values.values()) + max(values.values())) / 2
        for where, value in values.items():
            words[where][place] = f"{words[where][place][0]}{middle + (value - middle) * factor:.3f}"
    for where in beads:
        lines[where] = " ".join(words[where])


def changed_temperature(rng: random.Random, lines: Lines) -> None:
    where = _where(rng, lines, lambda line: line.startswith(("M104", "M140")))
    lines[where] = lines[where].split("S")[0] + f"S{rng.choice([0, 5, 20, 36, 41, 45, 90, 240])}"


def swapped_layers(rng: random.Random, lines: Lines) -> None:
    """Exchange two heights, or two whole layers."""
    start, stop = _span(rng, lines)
    heights = [where for where in range(start, stop) if lines[where].startswith("G0 Z")]
    one, other = sorted(rng.sample(heights, 2))
    if rng.random() < 0.5 or other == heights[-1]:
        lines[one], lines[other] = lines[other], lines[one]
        return
    ends = dict(pairwise(heights))
    lower, between, upper = lines[one : ends[one]], lines[ends[one] : other], lines[other : ends[other]]
    lines[one : ends[other]] = upper + between + lower


def swapped_lines(rng: random.Random, lines: Lines) -> None:
    one, other = rng.randrange(5, len(lines) - 1), rng.randrange(5, len(lines) - 1)
    lines[one], lines[other] = lines[other], lines[one]


def swapped_neighbours(rng: random.Random, lines: Lines) -> None:
    one = rng.randrange(5, len(lines) - 2)
    lines[one], lines[one + 1] = lines[one + 1], lines[one]


def swapped_or_doubled_sections(rng: random.Random, lines: Lines) -> None:
    starts = [where for where, line in enumerate(lines) if line.startswith(";") and f";END {line[1:]}" in lines]
    one, other = sorted(rng.sample(starts, 2))
    first, second = (lines[at : lines.index(f";END {lines[at][1:]}") + 1] for at in (one, other))
    between = lines[one + len(first) : other]
    lines[one : other + len(second)] = rng.choice([second + between + first, first + between + first, second + between + second, between])


def changed_tool(rng: random.Random, lines: Lines) -> None:
    tools = [where for where, line in enumerate(lines) if line in ("T0", "T1")]
    if tools and rng.random() < 0.7:
        where = rng.choice(tools)
        lines[where] = rng.choice(["T0", "T1", "T2", "M400"])
    else:
        lines.insert(rng.randrange(5, len(lines) - 1), rng.choice(["T0", "T1", "T2"]))


def changed_mode(rng: random.Random, lines: Lines) -> None:
    """Units, absolute or relative, and factors: put in somewhere, or in place of what is stated."""
    word = rng.choice(["G20", "G90", "G91", "M82", "M83", "M221 S105", "M221 S97", "M220 S150", "M302 S0", "G21"])
    stated = [where for where, line in enumerate(lines) if line in ("G21", "G90", "M83")]
    if rng.random() < 0.4:
        lines[rng.choice(stated)] = word
    else:
        lines.insert(rng.randrange(5, len(lines) - 1), word)


def changed_origin(rng: random.Random, lines: Lines) -> None:
    word = rng.choice(["G92 E0", "G92 E1.00000", "G92 X0 Y0", "G92 Z0.2", "G92", "M206 X3", "M218 T1 X1.000 Y0.000 Z0.000", "G28", "G28 Z"])
    lines.insert(rng.randrange(5, len(lines) - 1), word)


def changed_offset(rng: random.Random, lines: Lines) -> None:
    stated = [where for where, line in enumerate(lines) if line.startswith("M218")]
    if not stated:
        changed_origin(rng, lines)
        return
    by = rng.choice([0.1, -2, 5])
    lines[stated[0]] = re.sub(r"([XYZ])(-?[\d.]+)", lambda word: f"{word[1]}{float(word[2]) + by:.3f}", lines[stated[0]])


def truncated_tail(rng: random.Random, lines: Lines) -> None:
    whole = "\n".join(lines)
    kept = whole[: rng.randrange(len(whole) // 3, len(whole) - 1)]
    lines[:] = (kept if rng.random() < 0.5 else kept.rpartition("\n")[0] + "\n").split("\n")


def changed_case(rng: random.Random, lines: Lines) -> None:
    where = _where(rng, lines, lambda line: line and line[0] in "GMT")
    lines[where] = rng.choice([lines[where].lower(), lines[where].replace("E", "e"), lines[where][0].lower() + lines[where][1:]])


def changed_whitespace(rng: random.Random, lines: Lines) -> None:
    where = _where(rng, lines, lambda line: line and line[0] in "GMT")
    line = lines[where]
    changes = [f" {line}", f"{line} ", f"{line}\r", f"\n{line}"]
    changes += [line.replace(" ", other, 1) for other in ("  ", "\t", "\x0b")]
    changes += [line.replace(" ", ""), line.replace(" E", "\nE"), line.replace(".", ". ", 1), line.replace("E", "E ", 1)]
    lines[where] = rng.choice(changes)


def changed_comment(rng: random.Random, lines: Lines) -> None:
    where = _where(rng, lines, lambda line: line and line[0] in "GMT")
    line = lines[where]
    changes = [f";{line}", f"{line} ;bead", f"{line};", line.replace(" ", " ;", 1), f"({line})", f";UNIT 1\n{line}", f";END UNIT 1\n{line}"]
    lines[where] = rng.choice([*changes, f";note\n{line}", line.replace(" E", " ;E"), f"N7 {line}*33"])


def changed_bracket(rng: random.Random, lines: Lines) -> None:
    where = _where(rng, lines, lambda line: line.startswith(";"))
    line = lines[where]
    changes = [line.replace("1", "2"), line.replace("2", "1"), f";{line}", f"{line} ", line.lower(), "", f";END{line[1:]}", "M400"]
    lines[where] = rng.choice(changes)


def changed_number(rng: random.Random, lines: Lines) -> None:
    """Write a number in a form that readers take differently."""
    where = _where(rng, lines, lambda line: _moves(line) and "." in line)
    words = lines[where].split(" ")
    place = rng.randrange(1, len(words))
    letter, number = words[place][0], words[place][1:]
    whole, _, fraction = number.partition(".")
    forms = [f"{number}e0", f"{number}e1", f"+{number}", f"-{number}", f"--{number}", f"0{number}", f"1{number}", f"{number}0"]
    forms += [f"{whole},{fraction}", f".{fraction}", f"{whole}.", whole, f"0x{whole}", f"{whole}_{fraction}", f"{number}.0", f"{number}-1"]
    forms += ["NaN", "inf", "", number.replace("1", "\u0661"), number.replace("0", "O", 1), f"{whole}\uff0e{fraction}", f"{number}\x00"]
    words[place] = letter + rng.choice(forms)
    lines[where] = " ".join(words)


def changed_words(rng: random.Random, lines: Lines) -> None:
    """Leave out, repeat or exchange words of a line."""
    where = _where(rng, lines, lambda line: _moves(line) and " " in line)
    first, *words = lines[where].split(" ")
    place = rng.randrange(len(words))
    match rng.randrange(5):
        case 0:
            del words[place]
        case 1:
            words.append(words[place])
        case 2:
            rng.shuffle(words)
        case 3:
            words[place] = rng.choice("XYZEFABS") + words[place][1:]
        case _:
            first = rng.choice(["G0", "G1", "G2", "G3", "G5", "G10", "G11", "G00", "G01", "G1.1", "G 1"])
    lines[where] = " ".join([first, *words])


def changed_sign(rng: random.Random, lines: Lines) -> None:
    where = _where(rng, lines, lambda line: _moves(line) and "." in line)
    words = lines[where].split(" ")
    place = rng.randrange(1, len(words))
    words[place] = words[place].replace("-", "") if "-" in words[place] else words[place][0] + "-" + words[place][1:]
    lines[where] = " ".join(words)


def foreign_line(rng: random.Random, lines: Lines) -> None:
    lines.insert(rng.randrange(len(lines) - 1), rng.choice(FOREIGN))


def changed_header(rng: random.Random, lines: Lines) -> None:
    where = rng.randrange(5)
    line = lines[where]
    lines[where] = rng.choice(["", line + " ", line[:-1], line.replace("1", "7", 1), f"{line}\n{line}", ";"])


CORRUPTIONS: tuple[Callable[[random.Random, Lines], None], ...] = (
    dropped_line, dropped_lines, doubled_line, changed_digit_of_e, changed_digit_of_x_or_y, changed_digit_of_z, changed_digit_of_f,
    scaled_e, scaled_e_of_a_unit, scaled_feed, missing_unretraction, missing_retraction, moved_unit, spread_unit, changed_temperature,
    swapped_layers, swapped_lines, swapped_neighbours, swapped_or_doubled_sections, changed_tool, changed_mode, changed_origin,
    changed_offset, truncated_tail, changed_case, changed_whitespace, changed_comment, changed_bracket, changed_number, changed_words,
    changed_sign, foreign_line, changed_header,
)  # fmt: skip

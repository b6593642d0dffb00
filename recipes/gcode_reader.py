"""Reading G-code for the proof: an own parser, in integers.

Nothing here is shared with the writer. Lengths are nanometres, feeds nanometres per minute, volumes attolitres
(1 µL = 10^12 aL, the product of nanometres of E and millionths of a mm²). What the closed grammar does not know is refused,
line by line: four forms of motion, each number written in one way only, and a few commands, each in its place. What a line
would do is judged by `gcode_motion` before it is taken as done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from recipes.gcode_motion import Motion
from recipes.gcode_values import E_QUANTUM, SECTIONS_AFTER, Limits, Refusals, SectionTally, nanometres, sections_before

LONGEST_LINE = 96
"""Marlin drops what exceeds MAX_CMD_SIZE without a word."""

_WHOLE = r"-?(?:0|[1-9][0-9]{0,5})"
_MILLI, _TICKS = rf"{_WHOLE}\.[0-9]{{3}}", rf"{_WHOLE}\.[0-9]{{5}}"
_FEED = rf"(?: F({_MILLI}))?"
_LAID = rf"G1 X{_MILLI} Y{_MILLI} E{_TICKS}"

_NEXT = re.compile(rf"(?P<beads>{_LAID}(?: F(?P<feed>{_MILLI}))?\n(?:{_LAID}\n)*+)|(?P<line>[^\n]*)\n")
"""Beads that follow one another at one feed rate, which the first of them may state; or any other line."""

_BEAD = re.compile(r"G1 X(-?[0-9]+) Y(-?[0-9]+) E(-?[0-9]+)")
_TRAVEL = re.compile(rf"G0 X({_MILLI}) Y({_MILLI}){_FEED}")
_LIFT = re.compile(rf"G0 Z({_MILLI}){_FEED}")
_PUMP = re.compile(rf"G1 E({_TICKS}){_FEED}")
_TEMPERATURE = re.compile(r"M(104|140)(?: T([01]))? S([0-9]{1,3}(?:\.[0-9]{1,3})?)")
_OFFSET = re.compile(rf"M218 T1 X({_MILLI}) Y({_MILLI}) Z({_MILLI})")
_HEAD = re.compile(r"T([01])")
_OPENING = re.compile(r"(UNIT|PURGE) ([1-9][0-9]{0,3})(?: PART ([12]))?")

_NEEDED = frozenset({"G21", "G90", "M83", "G28"})
_ONCE = {"G21": "PREPARE", "G90": "PREPARE", "M83": "PREPARE", "M155 S1": "PREPARE", "G28": "HOME"}


class ProgramReader:
    """Read a program once, from first to last line; afterwards `sections` and `refusals` say what was found.

    Lifetime: one program. Concurrency: none.
    """

    def __init__(
        self, heads: tuple[Limits, ...], places: tuple[tuple[int, int], ...], purge_places: tuple[tuple[int, int], ...] = ()
    ) -> None:
        """`heads`: the limits of each head of the machine that is used; `places` one for each unit, whatever the number of its parts."""
        self.heads = heads
        self.places = places
        self.purge_places = purge_places
        self.header: list[str] = []
        self.sections: list[SectionTally] = []
        self._refused = Refusals()
        self._motion = Motion(heads, self._refused)
        self._changing = False
        self._tops: dict[int, int] = {}
        self._before = sections_before(len(heads))
        self._needed = _NEEDED if len(heads) == 1 else _NEEDED | {"M218"}
        self._section: SectionTally | None = None
        self._done: set[str] = set()
        self._ready = False

    def read(self, content: bytes) -> None:
        """Read all lines; every line ends with a newline, and there is nothing but ASCII."""
        if not content.isascii() or not content.endswith(b"\n"):
            self._refuse("the file is not ASCII or does not end with a line end")
        for found in _NEXT.finditer(content.decode("ascii", errors="replace")):
            beads, feed, text = found.group("beads", "feed", "line")
            if beads is not None:
                self._beads(beads, feed)
                continue
            self._refused.line += 1
            if text.startswith(";"):
                self._comment(text[1:])
            elif text.startswith("G0 ") or text.startswith("G1 "):
                self._other_motion(text)
            else:
                self._command(text)
            if len(text) > LONGEST_LINE and not text.startswith(";"):  # a comment is not sent, and those of the header name things in full
                self._refuse(f"the line has {len(text)} bytes; a printer takes {LONGEST_LINE}")
        if self._section is not None:
            self._refuse(f"{self._section.name} is never closed")

    @property
    def lines(self) -> int:
        """How many lines have been read."""
        return self._refused.line

    @property
    def refusals(self) -> list[str]:
        """What was refused, one reason with its lines after another; a reason that repeats is said once."""
        return self._refused.texts

    @property
    def reach(self) -> Sequence[tuple[int, int] | None]:
        """Lowest and highest X, Y and Z that were gone to; None where an axis never moved."""
        return self._motion.reach

    def _refuse(self, reason: str) -> None:
        self._refused.refuse(reason)

    def _enter(self, section: SectionTally | None) -> None:
        self._section = section
        self._refused.where = f" in {section.name}" if section else ""

    # comments

    def _comment(self, text: str) -> None:
        if text.startswith("END "):
            self._close(text[4:])
        elif text in self._before or text in SECTIONS_AFTER:
            self._open(SectionTally(text))
        elif opening := _OPENING.fullmatch(text):
            self._open_unit(text, int(opening[2]), purge=opening[1] == "PURGE", part=int(opening[3] or 0))
        elif self.sections or self._section:
            self._refuse(f"the comment {text[:40]!r} is not one of the format")
        else:
            self.header.append(text)

    def _open_unit(self, name: str, n: int, *, purge: bool, part: int) -> None:
        places = self.purge_places if purge else self.places
        base = self._motion.limits.surface_z
        if part == 2:
            if n not in self._tops:
                self._refuse(f"{name.lower()} has no first part to stand on")
            base = self._tops.get(n, base)
        x, y = places[n - 1] if n <= len(places) else (0, 0)
        if n > len(places):
            self._refuse(f"{name.lower()} is more than the {len(places)} ordered")
        self._open(SectionTally(name, n=n, purge=purge, part=part, base=base, x=x, y=y, retracted_at_start=self._motion.retracted))

    def _open(self, section: SectionTally) -> None:
        if self._section is not None:
            self._refuse(f"{section.name} begins inside it")
        self._enter(section)
        self._motion.feed = None

    def _close(self, name: str) -> None:
        section = self._section
        if section is None or section.name != name:
            self._refuse(f"END {name[:40]} closes nothing")
            return
        motion = self._motion
        if len(self.heads) > 1 and (section.n or section.primes) and not section.selected:
            self._refuse("it never takes its head into use")
        if section.moves:
            if not section.waited:
                self._refuse("motion is not waited for: the last command must be M400")
            if motion.at[:2] != [*motion.limits.park]:
                self._refuse("it does not end at the park position")
        least, most = motion.limits.retraction
        held, slack = motion.retracted * motion.limits.area, E_QUANTUM * motion.limits.area
        if (section.n or section.primes) and not least - slack <= held <= most + slack:
            self._refuse(f"{held / 1e12:.2f} uL are retracted at its end, outside the range")
        if section.n and motion.retracted != section.retracted_at_start:
            self._refuse("retraction is not balanced: it must end as far retracted as it began")
        if section.layers:
            motion.top = max(motion.top, section.layers[-1].z)
            if section.part == 1:
                self._tops[section.n] = section.layers[-1].z
        section.end = (motion.at[0], motion.at[1], motion.at[2])
        self.sections.append(section)
        self._enter(None)

    # commands other than moves

    def _command(self, text: str) -> None:
        section = self._section
        if section is None:
            self._refuse(f"the command {text[:40]!r} stands outside every section")
            return
        section.lines += 1
        if text.partition(" ")[0] in self._motion.limits.unknown:
            self._refuse(f"{text} is not known to the firmware of this machine")
        elif text == "M400":
            section.waited = True
            self._changing = False
        elif self._changing:
            self._refuse("a command before the change of head is waited for")
        elif len(self.heads) > 1 and (head := _HEAD.fullmatch(text)):
            self._select(section, int(head[1]))
        elif len(self.heads) > 1 and (offset := _OFFSET.fullmatch(text)):
            self._offset(section, (nanometres(offset[1]), nanometres(offset[2]), nanometres(offset[3])))
        elif text in _ONCE:
            if section.name != _ONCE[text] or text in self._done:
                self._refuse(f"{text} belongs once into {_ONCE[text]}")
            if text == "G90" and "M83" in self._done:
                self._refuse("G90 after M83: it makes E absolute again (Marlin)")
            self._done.add(text)
            self._ready = self._done >= self._needed
            if text == "G28":
                self._motion.at = [None, None, None]
        elif heat := _TEMPERATURE.fullmatch(text):
            self._temperature(section, heat[1], heat[2], nanometres(heat[3]))
        else:
            self._refuse(f"the command {text[:40]!r} is not one of the closed set")

    def _temperature(self, section: SectionTally, code: str, head: str | None, value: int) -> None:
        nozzle, plate = self.heads[min(int(head or 0), len(self.heads) - 1)].temperatures
        wanted = {"HEAT": nozzle if code == "104" else plate, "HEAT OFF": 0}.get(section.name)
        if wanted is None or wanted != value:
            self._refuse(f"M{code} sets {value / 1_000_000:g} degC, which is not the recipe's set point at this place")
        section.temperatures.append(code if head is None else f"{code} T{head}")

    def _offset(self, section: SectionTally, offset: tuple[int, int, int]) -> None:
        if section.name != "PREPARE" or "M218" in self._done:
            self._refuse("M218 belongs once into PREPARE")
        if offset != self.heads[1].offset:
            self._refuse("M218 states another offset of the second head than the machine profile")
        self._done.add("M218")

    def _select(self, section: SectionTally, head: int) -> None:
        """Take a head into use. The firmware puts its nozzle where the last one's was, so that positions stay."""
        if not (section.n or section.primes) or section.selected or section.net:
            self._refuse("a head is taken into use once in each unit and priming, before material moves, and nowhere else")
        if head != section.head:
            self._refuse(f"it takes head T{head} into use, and is for T{section.head}")
        motion = self._motion
        if motion.at[:2] != [*motion.limits.park] or (motion.at[2] or 0) < motion.top + motion.limits.lift:
            self._refuse("a head is changed away from the park position or below the clear height")
        motion.select(head)
        self._changing = True
        section.selected, section.waited, section.retracted_at_start = True, False, motion.retracted

    # motion

    def _beads(self, text: str, feed: str | None) -> None:
        """Read beads that follow one another: `text` is their lines, `feed` what the first one states. All are of one form, by `_NEXT`."""
        words = _BEAD.findall(text.replace(".", ""))
        self._refused.line += len(words)
        section, feed_now = self._moving(feed, len(words))
        if section is not None and feed_now:
            self._needs_head(section)
            self._motion.lay(section, words, feed_now)

    def _other_motion(self, text: str) -> None:
        """Read one line that moves something else than a bead: up or down, across, or E alone."""
        if lift := _LIFT.fullmatch(text):
            section, feed = self._moving(lift[2])
            if section is not None and feed:
                self._motion.lift(section, nanometres(lift[1]), feed)
        elif travel := _TRAVEL.fullmatch(text):
            section, feed = self._moving(travel[3])
            if section is not None and feed:
                self._motion.travel(section, nanometres(travel[1]), nanometres(travel[2]), feed)
        elif pump := _PUMP.fullmatch(text):
            section, feed = self._moving(pump[2])
            if section is not None and feed:
                self._needs_head(section)
                self._motion.pump(section, nanometres(pump[1]), feed)
        else:
            self._refuse(f"the motion {text[:40]!r} has none of the four forms of a program")

    def _moving(self, feed: str | None, lines: int = 1) -> tuple[SectionTally | None, int | None]:
        """Return the section that motion belongs to, and the feed rate in force; what forbids motion at all is refused."""
        section, motion = self._section, self._motion
        if section is None:
            self._refuse("motion outside every section")
            return None, None
        section.lines += lines
        section.moves += lines
        section.waited = False
        if feed is not None:
            motion.feed = nanometres(feed)
        if not motion.feed or motion.feed < 0:
            self._refuse("no feed rate in force; each section states its own")
            return section, None
        if not self._ready:
            self._refuse("motion before G21, G90, M83 and G28" + (" and M218" if "M218" in self._needed else ""))
        if self._changing:
            self._refuse("motion before the change of head is waited for")
        return section, motion.feed

    def _needs_head(self, section: SectionTally) -> None:
        if len(self.heads) > 1 and not section.selected:
            self._refuse("material moves before the section has taken its head into use")

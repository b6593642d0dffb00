"""Times of the day of a prescription, read from typed text: each time is a name from a closed list, or a time of the clock; pure.

A text that may hold two times in one (`morning, evening`), or that says how often and not when (`twice daily`), is refused: read as one
time it would put a whole day's amount into one unit.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from audit.quantities import QuantityError
from recipes.order import Intake

ONCE = "once daily"
# Each time of the day with the names under which it is typed and printed, in the languages of the pages.
_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        ONCE: ("once", "once a day", "einmal täglich", "einmal am tag", "una vez al día"),
        "on waking": ("nach dem aufwachen", "al despertar"),
        "early morning": ("frühmorgens", "früh am morgen", "de madrugada"),
        "morning": ("in the morning", "morgens", "am morgen", "mañana", "por la mañana"),
        "late morning": ("vormittags", "am vormittag", "media mañana", "a media mañana"),
        "midday": ("noon", "at noon", "at midday", "mittags", "am mittag", "mediodía", "a mediodía", "al mediodía"),
        "early afternoon": ("am frühen nachmittag", "a primera hora de la tarde"),
        "afternoon": ("in the afternoon", "nachmittags", "am nachmittag", "tarde", "por la tarde"),
        "late afternoon": ("am späten nachmittag", "a última hora de la tarde"),
        "early evening": ("am frühen abend", "al anochecer"),
        "evening": ("in the evening", "abends", "am abend", "noche", "por la noche"),
        "late evening": ("spätabends", "am späten abend", "a última hora de la noche"),
        "at bedtime": ("bedtime", "before bed", "vor dem schlafen", "vor dem schlafengehen", "al acostarse", "antes de acostarse"),
        "night": ("at night", "nachts", "zur nacht", "in der nacht", "de noche", "durante la noche"),
        "before breakfast": ("vor dem frühstück", "antes del desayuno"),
        "with breakfast": ("zum frühstück", "beim frühstück", "con el desayuno"),
        "after breakfast": ("nach dem frühstück", "después del desayuno"),
        "before lunch": ("vor dem mittagessen", "antes del almuerzo", "antes de la comida"),
        "with lunch": ("zum mittagessen", "beim mittagessen", "con el almuerzo", "con la comida"),
        "after lunch": ("nach dem mittagessen", "después del almuerzo", "después de la comida"),
        "before dinner": ("before supper", "vor dem abendessen", "antes de la cena"),
        "with dinner": ("with supper", "zum abendessen", "beim abendessen", "con la cena"),
        "after dinner": ("after supper", "nach dem abendessen", "después de la cena"),
        "first dose": ("erste dosis", "erste gabe", "primera dosis"),
        "second dose": ("zweite dosis", "zweite gabe", "segunda dosis"),
        "third dose": ("dritte dosis", "dritte gabe", "tercera dosis"),
        "fourth dose": ("vierte dosis", "vierte gabe", "cuarta dosis"),
        "fifth dose": ("fünfte dosis", "fünfte gabe", "quinta dosis"),
        "sixth dose": ("sechste dosis", "sechste gabe", "sexta dosis"),
        "seventh dose": ("siebte dosis", "siebte gabe", "séptima dosis"),
        "eighth dose": ("achte dosis", "achte gabe", "octava dosis"),
        "ninth dose": ("neunte dosis", "neunte gabe", "novena dosis"),
        "tenth dose": ("zehnte dosis", "zehnte gabe", "décima dosis"),
        "eleventh dose": ("elfte dosis", "elfte gabe", "undécima dosis"),
        "twelfth dose": ("zwölfte dosis", "zwölfte gabe", "duodécima dosis"),
    }
)
_TIME_OF: Mapping[str, str] = MappingProxyType({name: time for time, names in _NAMES.items() for name in (time, *names)})
_NUMBERED = tuple(time for time in _NAMES if time.endswith(" dose"))
_CLOCK = re.compile(r"(?:at |um |a las |a la )?([01]?[0-9]|2[0-3]):([0-5][0-9])(?: uhr| h)?\Z")
_PARTS = re.compile(r"[-+0-9.,]+\Z")
_WHOLE = re.compile(r"[1-9][0-9]?\Z")
_SCHEME = re.compile(r"([0-9]) ?[-–] ?([0-9]) ?[-–] ?([0-9])(?: ?[-–] ?([0-9]))?\Z")
_OF_SCHEME = ("morning", "midday", "evening", "night")
_JOINED = re.compile(r"[,/+&|\n\r]|\b(?:and|und|y|e|or|oder|o|then|dann|plus|et)\b")
_MORE = "write each time by itself with a semicolon between them, for example 'morning; evening' or 'at 08:00; at 20:00'"


def read_schedule(text: str) -> tuple[Intake, ...]:
    """Return the times of the day that were typed, each with its part of a daily amount.

    Names are kept as typed, times of the clock as `at 08:00`. Raises QuantityError, with what to write, for anything that is not
    one time of the day between two semicolons, a time that is named twice, and a part where there is nothing to share.
    """
    intakes = tuple(_intake(item) for item in text.split(";") if item.strip())
    if not intakes:
        raise QuantityError("schedule: no time of day is named; write for example 'morning' or 'morning 2; midday 1; evening 1'")
    times = [time_of_day(intake) for intake in intakes]
    if len(set(times)) != len(times):
        raise QuantityError("schedule: a time of day is named twice; name each once")
    if len(intakes) > 1 and ONCE in times:
        raise QuantityError(f"schedule: 'once daily' stands alone; {_MORE}")
    if len(intakes) == 1 and intakes[0].parts != 1:
        raise QuantityError(
            f"schedule: {intakes[0].time!r} is the only time and takes the whole amount; leave its number out, or name the other times"
        )
    numbered = [_NUMBERED.index(time) for time in times if time in _NUMBERED]
    if len(numbered) == 1 or sorted(numbered) != list(range(len(numbered))):
        raise QuantityError("schedule: numbered doses begin with the first and leave none out; write for example 'first dose; second dose'")
    return intakes


def time_of_day(intake: Intake) -> str:
    """Return the time of an intake by one name, whatever the language and case in which it was typed."""
    name = _plain(intake.time)
    return _TIME_OF.get(name, name)


def same_times(first: Iterable[Intake], second: Iterable[Intake]) -> bool:
    """Whether two schedules name the same times with the same parts, in any order."""
    one, other = (sorted((time_of_day(intake), intake.parts) for intake in intakes) for intakes in (first, second))
    return one == other


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _intake(item: str) -> Intake:
    typed = " ".join(unicodedata.normalize("NFC", item).split())
    name, _, last = typed.rpartition(" ")
    if (time := _named(name)) is not None and _PARTS.match(last):
        if not _WHOLE.match(last) or int(last) > 24:
            raise QuantityError(f"schedule: parts of {name!r}: {last} is not a whole number from 1 to 24; write for example 'morning 2'")
        return Intake(time=time, parts=int(last))
    if (time := _named(typed)) is not None:
        return Intake(time=time)
    raise QuantityError(_not_a_time(item.strip(), typed))


def _named(typed: str) -> str | None:
    """Return the name under which a time is kept, None where it is none."""
    plain = _plain(typed)
    if (clock := _CLOCK.match(plain)) is not None:
        return f"at {int(clock[1]):02}:{clock[2]}"
    return typed if plain in _TIME_OF else None


def _not_a_time(item: str, typed: str) -> str:
    if (scheme := _SCHEME.match(typed)) is not None:
        named = [f"{name} {parts}" for name, parts in zip(_OF_SCHEME, scheme.groups("0"), strict=True) if parts != "0"]
        written = "; ".join(named) if len(named) != 1 else named[0].rpartition(" ")[0]
        return f"schedule: {typed!r} is a scheme, and is not read; write its times with their parts, for example {written or 'morning'!r}"
    if _JOINED.search(item.casefold()):
        return f"schedule: {typed[:60]!r} may be several times in one; {_MORE}"
    return f"schedule: {typed[:60]!r} is not one time of the day; {_MORE}"

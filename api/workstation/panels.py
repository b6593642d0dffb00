"""The parts of the running-batch page, as HTML and SVG text made from values; nothing here knows NiceGUI.

Colour never speaks alone: every verdict, quality and priority has a word and a symbol. All text from outside is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from html import escape
from itertools import groupby

from api.status import STATE_WORDS, AlarmStatus, CellStatus, Link, PartStatus, Sensor, UnitStatus, deviation_percent
from api.workstation.places import PLACES, TODAY
from api.workstation.words import said

UNIT_SYMBOLS: dict[str, tuple[str, str]] = {
    "accepted": ("✓", "accepted"),
    "rejected": ("✕", "rejected"),
    "scrapped": ("⊘", "scrapped"),
    "printing": ("▸", "printing"),
    "settling": ("▸", "settling"),
    "weighing": ("⇣", "weighing"),
    "judged": ("·", "judged"),
    "planned": ("·", "planned"),
}
_PRIORITIES = {"critical": "▲▲ critical", "high": "▲ high", "medium": "△ medium", "low": "▽ low"}
_SENSOR_NAMES = {"pressure": "Pressure", "nozzle": "Nozzle", "nozzle_2": "Nozzle of head 2", "plate": "Plate", "balance": "Balance"}
_STRETCH_US = 500_000
_MARKS = {"good": "● good", "stale": "◌ stale", "unknown": "○ unknown"}
_UNITS = {"degC": "°C", "uL": "µL"}


def header(cell: str, batch: str | None, person: str, role: str, *, title: str = "") -> str:
    """Word mark, cell, batch and person; on a page that has a `title` of its own, that in place of cell and batch."""
    facts = (
        f'<h1 class="dw-page">{escape(title)}</h1>'
        if title
        else f'<span class="dw-fact"><small>Cell</small>{escape(cell)}</span>'
        f'<span class="dw-fact"><small>Batch</small>{escape(batch or "none")}</span>'
    )
    return (
        f'<div class="dw-head"><span class="dw-mark">Dosewright</span>{facts}'
        f'<span class="dw-fact"><small>{escape(role)}</small>{escape(person)}</span></div>'
    )


LOG_OUT = '<form method="post" action="/api/v1/session/close" class="dw-out"><button class="dw-plain">Log out</button></form>'


def ways(here: str = "/") -> str:
    """The ways to the other pages, closed until they are asked for; beside them the way back to the cell, or from there to the day."""
    links = "".join(
        f'<a href="{place.path}"{" aria-current=page" if place.path == here else ""}>{said(place.name)}</a>' for place in PLACES
    )
    way, word = (TODAY.path, TODAY.name) if here == "/" else ("/", "Back to the cell")
    back = f'<a class="dw-plain" href="{way}">{said(word)}</a>'
    return (
        f'<nav class="dw-ways" aria-label="Pages">{back}<details class="dw-menu"><summary class="dw-plain">Pages</summary>'
        f"<div>{links}</div></details>{LOG_OUT}</nav>"
    )


def attention_banner(notices: Sequence[str]) -> str:
    """What an administrator or quality assurance has to look at, and where; nothing where there is nothing."""
    if not notices:
        return ""
    more = f" and {len(notices) - 1} more" if len(notices) > 1 else ""
    return f'<p class="dw-problem" role="alert">▲ Needs attention: {escape(notices[0])}{more} <a href="/people">Look at it</a></p>'


def _stop(cell: str, classes: str, button: str) -> str:
    return (
        f'<form class="{classes}" method="post" action="/api/v1/cells/{escape(cell)}/stop">'
        '<input type="hidden" name="strength" value="quickstop"><input type="hidden" name="reason" value="STOP pressed on the page">'
        f"{button}</form>"
    )


def stop_form(cell: str, *, several: bool = False) -> str:
    """STOP as a plain form: it needs neither script nor websocket, only the session's cookie. Of several cells it says which."""
    label, which = ("Stop the printer now", "") if not several else (f"Stop the printer of {cell} now", f"<small>{escape(cell)}</small>")
    return _stop(
        cell, "dw-stop", f'<button type="submit" aria-label="{escape(label)}"><span aria-hidden="true">■</span> STOP{which}</button>'
    )


def cell_strip(here: str, cells: Mapping[str, CellStatus]) -> str:
    """Every cell of the site: name, state, batch, how far it is, alarms; its page behind it, and STOP where something may move."""
    return f'<nav class="dw-cells" aria-label="Cells">{"".join(_cell(name, status, name == here) for name, status in cells.items())}</nav>'


def may_move(status: CellStatus) -> bool:
    """Whether something may move on a cell: a run is on it, or what it does is not known."""
    return (status.run is not None and not status.ended) or status.state == "UNKNOWN"


def cell_stop(name: str) -> str:
    """STOP of a cell whose page is not the one that is shown."""
    button = f'<button type="submit" aria-label="Stop the printer of {escape(name)} now"><span aria-hidden="true">■</span> STOP</button>'
    return _stop(name, "dw-cell-stop", button)


def cell_tile(name: str, status: CellStatus, *, here: bool) -> str:
    """A cell's name, state, batch, how far it is and its open alarms, as the way to its page."""
    word = STATE_WORDS.get(status.state, (status.state.replace("_", " ").capitalize(), ""))[0]
    alarms = sum(1 for alarm in status.alarms if alarm.is_open)
    facts = [escape(status.batch)] if status.batch is not None else []
    facts += [f"{status.judged} of {len(status.units)} judged"] if status.units else []
    facts += [f"▲ {alarms} open alarm{'' if alarms == 1 else 's'}"] if alarms else []
    return (
        f'<a href="/?cell={escape(name)}"{" aria-current=page" if here else ""}><b>{escape(name)}</b> <span>{escape(word)}</span>'
        f"<small>{' · '.join(facts) or 'no batch'}</small></a>"
    )


def _cell(name: str, status: CellStatus, here: bool) -> str:
    stop = cell_stop(name) if may_move(status) and not here else ""
    return f'<div class="dw-cell{" dw-here" if here else ""}" data-cell="{escape(name)}">{cell_tile(name, status, here=here)}{stop}</div>'


def first_view(status: CellStatus, problem: str, person: str, banner: str, strip: str = "") -> str:
    """What the page shows below STOP before its script has built it, and all that a browser without script shows.

    The same state, units, alarms, pressure and readings, as they were when it was loaded. `connection.js` takes it away.
    """
    alarms = "".join(alarm_text(alarm) for alarm in sorted(status.alarms, key=alarm_rank) if alarm.is_open)
    chart = pressure_chart(status.trace, status.sensors.get("pressure"))
    return (
        '<div class="dw-first"><noscript><style>#esm-fallback{display:none!important}</style></noscript>'
        f'<header class="dw-top">{header(status.cell, status.batch, person, "logged in")}{LOG_OUT}</header>{banner}'
        '<main class="dw-body"><div class="dw-col">'
        '<noscript><p class="dw-quiet">Without script this page is loaded anew every five seconds; STOP works as ever.</p></noscript>'
        f"{strip}{state_panel(status, problem)}{unit_grid(status.units)}</div>"
        f'<div class="dw-col">{alarms}{chart}{sensor_panel(status)}</div></main></div>'
    )


def demonstration_banner(rate: str) -> str:
    speed = "" if rate in {"1", ""} else f" · process time runs at {escape(rate)}×"
    return f'<div class="dw-demo" role="note"><b>Demonstration, not for patients</b><span>virtual bench{speed}</span></div>'


def development_banner(purpose: str) -> str:
    return f'<div class="dw-demo" role="note"><b>Development run</b><span>{escape(purpose)}; it can never be released</span></div>'


def duration(seconds: int | None) -> str:
    """Return a span in words a person reads at a glance."""
    if seconds is None:
        return "not known"
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def state_panel(status: CellStatus, problem: str = "") -> str:
    """The state in large letters, the unit in progress, what is left."""
    word, meaning = STATE_WORDS.get(status.state, (status.state.replace("_", " ").capitalize(), ""))
    total, done = len(status.units), status.judged
    counts = {verdict: sum(1 for unit in status.units if unit.verdict == verdict) for verdict in ("accepted", "rejected", "scrapped")}
    facts = [f'<span class="dw-count"><b>{done}</b> of {total} judged</span>'] if total else []
    facts += [
        f'<span class="dw-count dw-is-{name}"><i aria-hidden="true">{UNIT_SYMBOLS[name][0]}</i> <b>{number}</b> {name}</span>'
        for name, number in counts.items()
        if number or (name == "accepted" and total)
    ]
    if status.run is not None and status.time_left_s and not status.ended:
        facts.append(f'<span class="dw-count">about <b>{duration(status.time_left_s)}</b> left</span>')
    if status.ended_as is not None:
        meaning = f"The run has ended: {status.ended_as.lower()}. Its record is open for review"
    current = status.current
    if current is not None:
        meaning = f"Unit {current.n} of {total}: {UNIT_SYMBOLS.get(current.state, ('', current.state))[1]}"
    share = f"{done / total * 100:.1f}" if total else "0"
    notice = f'<p class="dw-problem" role="alert"><b>▲ </b>{escape(problem)}</p>' if problem else ""
    return (
        f'<section class="dw-state" data-state="{escape(status.state)}" aria-live="polite"><h1>{escape(word)}</h1>'
        f'<p class="dw-meaning">{escape(meaning)}</p>{notice}<div class="dw-counts">{"".join(facts)}</div>'
        f'<div class="dw-progress" role="progressbar" aria-label="units judged" aria-valuemin="0" aria-valuemax="{total}" '
        f'aria-valuenow="{done}"><div style="width:{share}%"></div></div></section>'
    )


def _position(value: float, low: float, high: float) -> float:
    """Place a mass on a bar whose middle three fifths are the tolerance; beyond the ends it stays at the end."""
    share = 0.5 if high <= low else (value - low) / (high - low)
    return max(1.5, min(98.5, 20.0 + share * 60.0))


def _tolerance_bar(unit: UnitStatus) -> str:
    if unit.low_mg is None or unit.high_mg is None:
        return ""
    marker = ""
    if unit.mass_mg is not None:
        place = _position(float(unit.mass_mg), float(unit.low_mg), float(unit.high_mg))
        marker = f'<i class="dw-marker" style="left:{place:.1f}%"></i>'
    return (
        f'<div class="dw-bar" aria-hidden="true"><b></b><u></u>{marker}</div>'
        f'<div class="dw-ends"><span>{escape(unit.low_mg)}</span><span>{escape(unit.high_mg)}</span></div>'
    )


def _part_line(part: PartStatus) -> str:
    """One ink's part of a unit: its active, its mass against its own limits, its verdict."""
    mass = f"<b>{escape(part.mass_mg)}</b> mg" if part.mass_mg is not None else f"target {escape(part.target_mass_mg)} mg"
    limits = f" ({escape(part.low_mg or '–')} to {escape(part.high_mg or '–')})"
    return f"<li>{escape(part.moiety)} {escape(part.strength_mg)} mg: {mass}{limits}, {escape(part.verdict or part.state)}</li>"


def unit_card(unit: UnitStatus) -> str:
    """One unit: number, strength, mass, where the mass lies between its limits, verdict by symbol and word, reasons."""
    key = unit.verdict or unit.state
    symbol, word = UNIT_SYMBOLS.get(key, ("·", key))
    if unit.mass_mg is not None:
        deviation = deviation_percent(unit.mass_mg, unit.target_mass_mg)
        mass = f"<b>{escape(unit.mass_mg)}</b> mg <small>{f'{deviation:+}'.replace('-', '−')} %</small>"
    elif unit.verdict is not None:
        mass = '<span class="dw-none">no mass</span>'
    else:
        mass = f'<span class="dw-none">–</span> <small>target {escape(unit.target_mass_mg)} mg</small>'
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in unit.reasons)
    parts = f'<ul class="dw-parts">{"".join(_part_line(part) for part in unit.parts)}</ul>' if unit.parts else ""
    if unit.needs_removal:
        reasons += "<li><b>take it off the plate</b></li>"
    elif unit.verdict in {"rejected", "scrapped"}:
        reasons += "<li>removal confirmed</li>"
    return (
        f'<li class="dw-unit dw-is-{escape(key)}" data-unit="{unit.n}"><div class="dw-unit-top"><span class="dw-n">{unit.n}</span>'
        f"<span>{escape(unit.strength_mg)} mg</span>"
        f'<span class="dw-verdict"><i aria-hidden="true">{symbol}</i> {escape(word)}</span></div>'
        f'<div class="dw-mass">{mass}</div>{_tolerance_bar(unit)}{parts}' + (f"<ul>{reasons}</ul>" if reasons else "") + "</li>"
    )


def unit_grid(units: Sequence[UnitStatus]) -> str:
    """All units of the run, in printing order."""
    if not units:
        return '<p class="dw-quiet">The units of a run appear here, each with its mass against its tolerance.</p>'
    return f'<ol class="dw-units">{"".join(unit_card(unit) for unit in units)}</ol>'


def _age(age_ms: int | None) -> str:
    if age_ms is None:
        return "never read"
    return f"{age_ms} ms ago" if age_ms < 1000 else f"{age_ms / 1000:.1f} s ago"


def _look(reading: Sensor | Link) -> str:
    """What was never read is unknown, but nothing has failed."""
    return "never" if reading.age_ms is None else reading.quality


def _resting(name: str, words: str) -> str:
    return (
        f'<div class="dw-sensor dw-q-unused"><small>{escape(name)}</small><div><b>not in use</b></div><small>{escape(words)}</small></div>'
    )


def _at_readability(value: str, step: Decimal | None) -> str:
    try:
        return value if step is None else str(Decimal(value).quantize(step))
    except InvalidOperation:
        return value


def _sensor(label: str, sensor: Sensor, step: Decimal | None) -> str:
    unit = _UNITS.get(sensor.unit, sensor.unit)
    # a reading that is not good is never shown as if it were one
    value = escape(_at_readability(sensor.value, step)) if sensor.value is not None and sensor.quality == "good" else "unknown"
    mark = _MARKS[sensor.quality]
    limits = f"limits {escape(sensor.low or '–')} to {escape(sensor.high or '–')} {escape(unit)}" if sensor.low or sensor.high else ""
    steady = "" if sensor.stable is None else (", steady" if sensor.stable else ", moving")
    return (
        f'<div class="dw-sensor dw-q-{_look(sensor)}"><small>{escape(label)}</small>'
        f"<div><b>{value}</b> <span>{escape(unit) if value != 'unknown' else ''}</span></div>"
        f"<small>{mark}{steady} · {_age(sensor.age_ms)}</small><small>{limits}</small></div>"
    )


def sensor_panel(status: CellStatus, readability: Mapping[str, Decimal] | None = None) -> str:
    """Every reading with its unit, its age and what it is worth; the link to the printer likewise.

    `readability` is the smallest step a device shows, by sensor and in that sensor's unit; no more digits are shown.
    """
    # with two heads, each nozzle is named with its head
    names = _SENSOR_NAMES | ({"nozzle": "Nozzle of head 1"} if "nozzle_2" in status.sensors else {})
    cards = [
        _resting(names.get(name, name), status.resting.get(name, ""))
        if sensor.quality == "unused"
        else _sensor(names.get(name, name), sensor, (readability or {}).get(name))
        for name, sensor in status.sensors.items()
    ]
    cards.append(_resting("Printer link", status.resting.get("link", "")) if status.link.quality == "unused" else _link(status.link))
    away = "".join(f"<li><b>{escape(_SENSOR_NAMES.get(port, port))}</b> {escape(words)}</li>" for port, words in status.ports.items())
    away += "".join(f"<li><b>Cell's computer</b> {escape(words)}</li>" for words in status.notices)
    return f'<div class="dw-sensors">{"".join(cards)}</div>' + (f'<ul class="dw-ports">{away}</ul>' if away else "")


def _link(link: Link) -> str:
    state = escape(link.state.lower()) if link.quality == "good" else "unknown"
    return (
        f'<div class="dw-sensor dw-q-{_look(link)}"><small>Printer link</small><div><b>{state}</b></div><small>{_MARKS[link.quality]} · '
        f"{_age(link.age_ms)}</small></div>"
    )


def alarm_title(alarm: AlarmStatus) -> str:
    """The alarm's name and what was seen, each once."""
    name = alarm.name.replace("_", " ").replace(".", " ")
    if not alarm.message or name.lower() in alarm.message.lower():
        return alarm.message or name.capitalize()
    return f"{name.capitalize()}: {alarm.message}"


def alarm_text(alarm: AlarmStatus) -> str:
    """What happened, why, what follows, and what to do."""
    unit = f" · unit {alarm.unit_n}" if alarm.unit_n is not None else ""
    rows = (("Cause", alarm.cause), ("Consequence", alarm.consequence), ("Do now", alarm.action), ("Shelved", _shelf(alarm)))
    details = "".join(f"<dt>{label}</dt><dd>{escape(text)}</dd>" for label, text in rows if text)
    return (
        f'<div class="dw-alarm dw-p-{escape(alarm.priority)}" role="alert"><div class="dw-alarm-top">'
        f"<span>{escape(_PRIORITIES.get(alarm.priority, alarm.priority))}{unit}{_order(alarm)}</span>"
        f"<span>{escape(alarm.state)}</span></div>"
        f"<h3>{escape(alarm_title(alarm))}</h3><dl>{details}</dl></div>"
    )


def _order(alarm: AlarmStatus) -> str:
    """Which alarm came first: the others of the same moment are its consequences."""
    if alarm.first_out:
        return " · first"
    return "" if alarm.follows is None else f" · follows {escape(alarm.follows.rpartition('/')[2])}"


def _shelf(alarm: AlarmStatus) -> str:
    if not alarm.is_shelved:
        return ""
    return f"by {alarm.shelved_by or 'unknown'}, for {duration(alarm.shelf_ends_in_s)} more at most: {alarm.shelf_reason or ''}"


def alarm_rank(alarm: AlarmStatus) -> tuple[bool, bool, int]:
    """Order of alarms on the page: what waits for a person, then what came first, then by priority."""
    return not alarm.is_open, not alarm.first_out, list(_PRIORITIES).index(alarm.priority) if alarm.priority in _PRIORITIES else 0


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps (µs, kPa) to the picture."""

    start: int
    span: int
    top: float
    width: float = 520.0
    height: float = 190.0
    left: float = 42.0
    base: float = 160.0

    def x(self, t_us: int) -> float:
        return self.left + (t_us - self.start) / self.span * (self.width - self.left - 8)

    def y(self, value: float) -> float:
        return self.base - max(0.0, min(value, self.top)) / self.top * (self.base - 10)


def _round_top(value: float) -> float:
    """Return a round number at or above a value, so that the scale does not jump with every reading."""
    step = 50.0
    while value > step * 10:
        step *= 2
    return step * max(1, -(-value // step))


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Keep of each half second (two picture points) the lowest and the highest reading, and the last reading of all: no peak is lost."""
    kept: list[tuple[int, float]] = []
    for _, group in groupby(points, key=lambda point: point[0] // _STRETCH_US):
        stretch = list(group)
        ends = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        kept += sorted(ends | ({stretch[-1]} if stretch[-1] == points[-1] else set()))
    return kept


def _last_word(sensor: Sensor | None) -> str:
    """What the right end of the chart is: a reading that is not good is not of now."""
    if sensor is None or sensor.quality == "good":
        return "now"
    return "end of the run" if sensor.quality == "unused" else "last reading"


def pressure_chart(trace: Sequence[tuple[int, str]], sensor: Sensor | None, window_s: int = 60) -> str:
    """Draw the pressure of the last seconds of process time with its limits; the last value also stands in words."""
    limit = float(sensor.high) if sensor is not None and sensor.high else None
    end = trace[-1][0] if trace else window_s * 1_000_000
    shown = _thinned([(t_us, float(value)) for t_us, value in trace if t_us >= end - window_s * 1_000_000])
    top = _round_top(max([value for _, value in shown] + ([limit * 1.1] if limit else []) + [50.0]))
    scale = _Scale(end - window_s * 1_000_000, window_s * 1_000_000, top)
    grid = "".join(
        f'<line x1="{scale.left}" x2="{scale.width - 8}" y1="{scale.y(value):.1f}" y2="{scale.y(value):.1f}"/>'
        f'<text x="{scale.left - 8}" y="{scale.y(value) + 5:.1f}" text-anchor="end">{value:g}</text>'
        for value in (0.0, top / 2, top)
    )
    times = "".join(
        f'<text x="{scale.x(end - back * 1_000_000):.1f}" y="184" text-anchor="{anchor}">{text}</text>'
        for back, text, anchor in (
            (window_s, f"−{window_s} s", "start"),
            (window_s // 2, f"−{window_s // 2} s", "middle"),
            (0, _last_word(sensor), "end"),
        )
    )
    limits = ""
    for text, label in ((sensor.high if sensor else None, "high limit"), (sensor.low if sensor else None, "low limit")):
        if text and float(text) > 0:
            y = scale.y(float(text))
            limits += f'<line class="dw-limit" x1="{scale.left}" x2="{scale.width - 8}" y1="{y:.1f}" y2="{y:.1f}"/>'
            limits += f'<text class="dw-limit-text" x="{scale.width - 10}" y="{y - 5:.1f}" text-anchor="end">{label} {escape(text)}</text>'
    line = " ".join(f"{scale.x(t_us):.1f},{scale.y(value):.1f}" for t_us, value in shown)
    area = ""
    if len(shown) > 1:
        area = f'<polygon points="{scale.x(shown[0][0]):.1f},{scale.base} {line} {scale.x(shown[-1][0]):.1f},{scale.base}"/>'
    said = f"last {shown[-1][1]:g} kPa" if shown else "no readings yet"
    return (
        f'<svg class="dw-chart" viewBox="0 0 {scale.width:g} {scale.height:g}" role="img" aria-label="Pressure over the last {window_s} '
        f'seconds, {said}"><g class="dw-grid">{grid}{times}</g>{area}<polyline points="{line}"/>{limits}</svg>'
    )

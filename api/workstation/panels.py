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
from api.workstation.words import marked, said, said_n, told, told_html

UNIT_SYMBOLS: dict[str, tuple[str, str]] = {
    "accepted": ("✓", marked("accepted")),
    "rejected": ("✕", marked("rejected")),
    "scrapped": ("⊘", marked("scrapped")),
    "printing": ("▸", marked("printing")),
    "settling": ("▸", marked("settling")),
    "weighing": ("⇣", marked("weighing")),
    "judged": ("·", marked("judged")),
    "planned": ("·", marked("planned")),
}
_PRIORITIES = {
    "critical": marked("▲▲ critical"),
    "high": marked("▲ high"),
    "medium": marked("△ medium"),
    "low": marked("▽ low"),
}
_SENSOR_NAMES = {
    "pressure": marked("Pressure"),
    "nozzle": marked("Nozzle"),
    "nozzle_2": marked("Nozzle of head 2"),
    "plate": marked("Plate"),
    "balance": marked("Balance"),
    "printer": marked("Printer"),
}
_STRETCH_US = 500_000
_MARKS = {"good": marked("● good"), "stale": marked("◌ stale"), "unknown": marked("○ unknown")}
_UNITS = {"degC": "°C", "uL": "µL"}


def header(cell: str, batch: str | None, person: str, role: str, *, title: str = "") -> str:
    """Word mark, cell, batch and person; on a page that has a `title` of its own, that in place of cell and batch."""
    facts = (
        f'<h1 class="dw-page">{escape(title)}</h1>'
        if title
        else f'<span class="dw-fact"><small>{said("Cell")}</small>{escape(cell)}</span>'
        f'<span class="dw-fact"><small>{said("Batch")}</small>{escape(batch or said("no batch"))}</span>'
    )
    return (
        f'<div class="dw-head"><span class="dw-mark">Dosewright</span>{facts}'
        f'<span class="dw-fact"><small>{escape(role)}</small>{escape(person)}</span></div>'
    )


def log_out() -> str:
    button = f'<button class="dw-plain">{said("Log out")}</button>'
    return f'<form method="post" action="/api/v1/session/close" class="dw-out">{button}</form>'


def ways(here: str = "/") -> str:
    """The ways to the other pages, closed until they are asked for; beside them the way back to the cell, or from there to the day."""
    links = "".join(
        f'<a href="{place.path}"{" aria-current=page" if place.path == here else ""}>{said(place.name)}</a>' for place in PLACES
    )
    back = f'<a class="dw-plain" href="/">{said("Back to the cell")}</a>'
    if here == "/":
        back = f'<a class="dw-plain" href="{TODAY.path}">{said("Today")}</a>'
    pages = said("Pages")
    return (
        f'<nav class="dw-ways" aria-label="{pages}">{back}<details class="dw-menu"><summary class="dw-plain">{pages}</summary>'
        f"<div>{links}</div></details>{log_out()}</nav>"
    )


def attention_banner(notices: Sequence[str]) -> str:
    """What an administrator or quality assurance has to look at, and where; nothing where there is nothing."""
    if not notices:
        return ""
    more = f" {said('and {n} more', n=len(notices) - 1)}" if len(notices) > 1 else ""
    link = f'<a href="/people">{said("Look at it")}</a>'
    return f'<p class="dw-problem" role="alert">▲ {said("Needs attention:")} {told_html(notices[0])}{more} {link}</p>'


def _stop(cell: str, classes: str, button: str) -> str:
    return (
        f'<form class="{classes}" method="post" action="/api/v1/cells/{escape(cell)}/stop">'
        '<input type="hidden" name="strength" value="quickstop"><input type="hidden" name="reason" value="STOP pressed on the page">'
        f"{button}</form>"
    )


def stop_form(cell: str, *, several: bool = False) -> str:
    """STOP as a plain form: it needs neither script nor websocket, only the session's cookie. Of several cells it says which."""
    label, which = (said("Stop the printer now"), "") if not several else (_stop_of(cell), f"<small>{escape(cell)}</small>")
    return _stop(
        cell, "dw-stop", f'<button type="submit" aria-label="{escape(label)}"><span aria-hidden="true">■</span> STOP{which}</button>'
    )


def _stop_of(cell: str) -> str:
    return said("Stop the printer of {cell} now", cell=cell)


def cell_strip(here: str, cells: Mapping[str, CellStatus]) -> str:
    """Every cell of the site: name, state, batch, how far it is, alarms; its page behind it, and STOP where something may move."""
    tiles = "".join(_cell(name, status, name == here) for name, status in cells.items())
    return f'<nav class="dw-cells" aria-label="{said("Cells")}">{tiles}</nav>'


def may_move(status: CellStatus) -> bool:
    """Whether something may move on a cell: a run is on it, or what it does is not known."""
    return (status.run is not None and not status.ended) or status.state == "UNKNOWN"


def cell_stop(name: str) -> str:
    """STOP of a cell whose page is not the one that is shown."""
    button = f'<button type="submit" aria-label="{escape(_stop_of(name))}"><span aria-hidden="true">■</span> STOP</button>'
    return _stop(name, "dw-cell-stop", button)


def cell_tile(name: str, status: CellStatus, *, here: bool) -> str:
    """A cell's name, state, batch, how far it is and its open alarms, as the way to its page."""
    word = told(STATE_WORDS.get(status.state, (status.state.replace("_", " ").capitalize(), ""))[0])
    alarms = sum(1 for alarm in status.alarms if alarm.is_open)
    facts = [escape(status.batch)] if status.batch is not None else []
    facts += [said("{n} of {total} judged", n=status.judged, total=len(status.units))] if status.units else []
    facts += [said_n("▲ {n} open alarm", "▲ {n} open alarms", alarms)] if alarms else []
    return (
        f'<a href="/?cell={escape(name)}"{" aria-current=page" if here else ""}><b>{escape(name)}</b> <span>{escape(word)}</span>'
        f"<small>{' · '.join(facts) or said('no batch')}</small></a>"
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
        f'<header class="dw-top">{header(status.cell, status.batch, person, said("logged in"))}{log_out()}</header>{banner}'
        '<main class="dw-body"><div class="dw-col"><noscript>'
        f'<p class="dw-quiet">{said("Without script this page is loaded anew every five seconds; STOP works as ever.")}</p></noscript>'
        f"{strip}{state_panel(status, problem)}{unit_grid(status.units)}</div>"
        f'<div class="dw-col">{alarms}{chart}{sensor_panel(status)}</div></main></div>'
    )


def demonstration_banner(rate: str) -> str:
    speed = "" if rate in {"1", ""} else f" · {said('process time runs at {rate}×', rate=escape(rate))}"
    what = f"<b>{said('Demonstration, not for patients')}</b><span>{said('virtual bench')}{speed}</span>"
    return f'<div class="dw-demo" role="note">{what}</div>'


def development_banner(purpose: str) -> str:
    never = said("{purpose}; it can never be released", purpose=escape(purpose))
    return f'<div class="dw-demo" role="note"><b>{said("Development run")}</b><span>{never}</span></div>'


def duration(seconds: int | None) -> str:
    """Return a span in words a person reads at a glance."""
    if seconds is None:
        return said("not known")
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def state_panel(status: CellStatus, problem: str = "") -> str:
    """The state in large letters, the unit in progress, what is left."""
    word, meaning = map(told, STATE_WORDS.get(status.state, (status.state.replace("_", " ").capitalize(), "")))
    total, done = len(status.units), status.judged
    counts = {verdict: sum(1 for unit in status.units if unit.verdict == verdict) for verdict in ("accepted", "rejected", "scrapped")}
    facts = [f'<span class="dw-count">{said("<b>{n}</b> of {total} judged", n=done, total=total)}</span>'] if total else []
    facts += [
        f'<span class="dw-count dw-is-{name}"><i aria-hidden="true">{UNIT_SYMBOLS[name][0]}</i> <b>{number}</b> '
        f"{told(UNIT_SYMBOLS[name][1])}</span>"
        for name, number in counts.items()
        if number or (name == "accepted" and total)
    ]
    if status.run is not None and status.time_left_s and not status.ended:
        facts.append(f'<span class="dw-count">{said("about <b>{time}</b> left", time=duration(status.time_left_s))}</span>')
    if status.ended_as is not None:
        meaning = said("The run has ended: {how}. Its record is open for review", how=told(status.ended_as.lower()))
    current = status.current
    if current is not None:
        doing = told(UNIT_SYMBOLS.get(current.state, ("", current.state))[1])
        meaning = said("Unit {n} of {total}: {doing}", n=current.n, total=total, doing=doing)
    share = f"{done / total * 100:.1f}" if total else "0"
    notice = f'<p class="dw-problem" role="alert"><b>▲ </b>{told_html(problem)}</p>' if problem else ""
    return (
        f'<section class="dw-state" data-state="{escape(status.state)}" aria-live="polite"><h1>{escape(word)}</h1>'
        f'<p class="dw-meaning">{escape(meaning)}</p>{notice}<div class="dw-counts">{"".join(facts)}</div>'
        f'<div class="dw-progress" role="progressbar" aria-label="{said("units judged")}" aria-valuemin="0" aria-valuemax="{total}" '
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
    mass = f"<b>{escape(part.mass_mg)}</b> mg" if part.mass_mg is not None else _target(part.target_mass_mg)
    limits = said("{low} to {high}", low=escape(part.low_mg or "–"), high=escape(part.high_mg or "–"))
    return f"<li>{escape(part.moiety)} {escape(part.strength_mg)} mg: {mass} ({limits}), {told_html(part.verdict or part.state)}</li>"


def _target(mass_mg: str) -> str:
    return said("target {mass} mg", mass=escape(mass_mg))


def unit_card(unit: UnitStatus) -> str:
    """One unit: number, strength, mass, where the mass lies between its limits, verdict by symbol and word, reasons."""
    key = unit.verdict or unit.state
    symbol, word = UNIT_SYMBOLS.get(key, ("·", key))
    if unit.mass_mg is not None:
        deviation = deviation_percent(unit.mass_mg, unit.target_mass_mg)
        mass = f"<b>{escape(unit.mass_mg)}</b> mg <small>{f'{deviation:+}'.replace('-', '−')} %</small>"
    elif unit.verdict is not None:
        mass = f'<span class="dw-none">{said("no mass")}</span>'
    else:
        mass = f'<span class="dw-none">–</span> <small>{_target(unit.target_mass_mg)}</small>'
    reasons = "".join(f"<li>{told_html(reason)}</li>" for reason in unit.reasons)
    parts = f'<ul class="dw-parts">{"".join(_part_line(part) for part in unit.parts)}</ul>' if unit.parts else ""
    if unit.needs_removal:
        reasons += f"<li><b>{said('take it off the plate')}</b></li>"
    elif unit.verdict in {"rejected", "scrapped"}:
        reasons += f"<li>{said('removal confirmed')}</li>"
    return (
        f'<li class="dw-unit dw-is-{escape(key)}" data-unit="{unit.n}"><div class="dw-unit-top"><span class="dw-n">{unit.n}</span>'
        f"<span>{escape(unit.strength_mg)} mg</span>"
        f'<span class="dw-verdict"><i aria-hidden="true">{symbol}</i> {escape(told(word))}</span></div>'
        f'<div class="dw-mass">{mass}</div>{_tolerance_bar(unit)}{parts}' + (f"<ul>{reasons}</ul>" if reasons else "") + "</li>"
    )


def unit_grid(units: Sequence[UnitStatus]) -> str:
    """All units of the run, in printing order."""
    if not units:
        return f'<p class="dw-quiet">{said("The units of a run appear here, each with its mass against its tolerance.")}</p>'
    return f'<ol class="dw-units">{"".join(unit_card(unit) for unit in units)}</ol>'


def _age(age_ms: int | None) -> str:
    if age_ms is None:
        return said("never read")
    return said("{age} ago", age=f"{age_ms} ms" if age_ms < 1000 else f"{age_ms / 1000:.1f} s")


def _look(reading: Sensor | Link) -> str:
    """What was never read is unknown, but nothing has failed."""
    return "never" if reading.age_ms is None else reading.quality


def _resting(name: str, words: str) -> str:
    unused = f"<div><b>{said('not in use')}</b></div>"
    return f'<div class="dw-sensor dw-q-unused"><small>{escape(name)}</small>{unused}<small>{told_html(words)}</small></div>'


def _at_readability(value: str, step: Decimal | None) -> str:
    try:
        return value if step is None else str(Decimal(value).quantize(step))
    except InvalidOperation:
        return value


def _sensor(label: str, sensor: Sensor, step: Decimal | None) -> str:
    unit = _UNITS.get(sensor.unit, sensor.unit)
    # a reading that is not good is never shown as if it were one
    value = escape(_at_readability(sensor.value, step)) if sensor.value is not None and sensor.quality == "good" else ""
    mark = told(_MARKS[sensor.quality])
    limits = ""
    if sensor.low or sensor.high:
        limits = said("limits {low} to {high}", low=escape(sensor.low or "–"), high=escape(sensor.high or "–")) + f" {escape(unit)}"
    steady = "" if sensor.stable is None else f", {said('steady') if sensor.stable else said('moving')}"
    return (
        f'<div class="dw-sensor dw-q-{_look(sensor)}"><small>{escape(label)}</small>'
        f"<div><b>{value or said('unknown')}</b> <span>{escape(unit) if value else ''}</span></div>"
        f"<small>{mark}{steady} · {_age(sensor.age_ms)}</small><small>{limits}</small></div>"
    )


def sensor_panel(status: CellStatus, readability: Mapping[str, Decimal] | None = None) -> str:
    """Every reading with its unit, its age and what it is worth; the link to the printer likewise.

    `readability` is the smallest step a device shows, by sensor and in that sensor's unit; no more digits are shown.
    """
    # with two heads, each nozzle is named with its head
    names = {name: told(words) for name, words in _SENSOR_NAMES.items()}
    if "nozzle_2" in status.sensors:
        names["nozzle"] = said("Nozzle of head 1")
    cards = [
        _resting(names.get(name, name), status.resting.get(name, ""))
        if sensor.quality == "unused"
        else _sensor(names.get(name, name), sensor, (readability or {}).get(name))
        for name, sensor in status.sensors.items()
    ]
    cards.append(_resting(said("Printer link"), status.resting.get("link", "")) if status.link.quality == "unused" else _link(status.link))
    computer = escape(said("Cell's computer"))
    away = "".join(f"<li><b>{escape(names.get(port, port))}</b> {told_html(words)}</li>" for port, words in status.ports.items())
    away += "".join(f"<li><b>{computer}</b> {told_html(words)}</li>" for words in status.notices)
    return f'<div class="dw-sensors">{"".join(cards)}</div>' + (f'<ul class="dw-ports">{away}</ul>' if away else "")


def _link(link: Link) -> str:
    state = told_html(link.state.lower()) if link.quality == "good" else said("unknown")
    name, mark = said("Printer link"), told(_MARKS[link.quality])
    return (
        f'<div class="dw-sensor dw-q-{_look(link)}"><small>{name}</small><div><b>{state}</b></div><small>{mark} · '
        f"{_age(link.age_ms)}</small></div>"
    )


def alarm_title(alarm: AlarmStatus) -> str:
    """The alarm's name and what was seen, each once."""
    name = alarm.name.replace("_", " ").replace(".", " ")
    shown, message = told(name), told(alarm.message)
    if not alarm.message or name.lower() in alarm.message.lower():
        return message or f"{shown[0].upper()}{shown[1:]}"
    return f"{shown[0].upper()}{shown[1:]}: {message}"


def alarm_text(alarm: AlarmStatus) -> str:
    """What happened, why, what follows, and what to do."""
    unit = f" · {said('unit {n}', n=alarm.unit_n)}" if alarm.unit_n is not None else ""
    rows = (
        (said("Cause"), told_html(alarm.cause)),
        (said("Consequence"), told_html(alarm.consequence)),
        (said("Do now"), told_html(alarm.action)),
        (said("Shelved"), escape(_shelf(alarm))),
    )
    details = "".join(f"<dt>{label}</dt><dd>{text}</dd>" for label, text in rows if text)
    return (
        f'<div class="dw-alarm dw-p-{escape(alarm.priority)}" role="alert"><div class="dw-alarm-top">'
        f"<span>{escape(told(_PRIORITIES.get(alarm.priority, alarm.priority)))}{unit}{_order(alarm)}</span>"
        f"<span>{escape(told(alarm.state))}</span></div>"
        f"<h3>{escape(alarm_title(alarm))}</h3><dl>{details}</dl></div>"
    )


def _order(alarm: AlarmStatus) -> str:
    """Which alarm came first: the others of the same moment are its consequences."""
    if alarm.first_out:
        return f" · {said('first')}"
    return "" if alarm.follows is None else f" · {said('follows {alarm}', alarm=escape(alarm.follows.rpartition('/')[2]))}"


def _shelf(alarm: AlarmStatus) -> str:
    if not alarm.is_shelved:
        return ""
    by, time, why = alarm.shelved_by or said("unknown"), duration(alarm.shelf_ends_in_s), alarm.shelf_reason or ""
    return said("by {by}, for {time} more at most: {why}", by=by, time=time, why=why)


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
        return said("now")
    return said("end of the run") if sensor.quality == "unused" else said("last reading")


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
    for text, label in ((sensor.high if sensor else None, said("high limit")), (sensor.low if sensor else None, said("low limit"))):
        if text and float(text) > 0:
            y = scale.y(float(text))
            limits += f'<line class="dw-limit" x1="{scale.left}" x2="{scale.width - 8}" y1="{y:.1f}" y2="{y:.1f}"/>'
            limits += f'<text class="dw-limit-text" x="{scale.width - 10}" y="{y - 5:.1f}" text-anchor="end">{label} {escape(text)}</text>'
    line = " ".join(f"{scale.x(t_us):.1f},{scale.y(value):.1f}" for t_us, value in shown)
    area = ""
    if len(shown) > 1:
        area = f'<polygon points="{scale.x(shown[0][0]):.1f},{scale.base} {line} {scale.x(shown[-1][0]):.1f},{scale.base}"/>'
    last = said("last {value} kPa", value=f"{shown[-1][1]:g}") if shown else said("no readings yet")
    label = said("Pressure over the last {n} seconds, {last}", n=window_s, last=last)
    return (
        f'<svg class="dw-chart" viewBox="0 0 {scale.width:g} {scale.height:g}" role="img" aria-label="{escape(label)}">'
        f'<g class="dw-grid">{grid}{times}</g>{area}<polyline points="{line}"/>{limits}</svg>'
    )

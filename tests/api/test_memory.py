"""The workstation's memory does not grow with what it has shown, been asked and let in: over minutes here, over a day in the deep suite."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from decimal import Decimal
from typing import Any

import pytest

from api.open_sessions import OpenSessions
from api.security import MINUTE, Sessions
from api.workstation.running import Drawn
from audit.clock import SystemClock
from audit.identity import Role

DAY_S = 24 * 3600
GROWTH = 256 << 10
"""Bytes that may be left by a later stretch as long as the first: caches that fill once are full after that."""


class Virtual(SystemClock):
    at = 0

    def now(self) -> int:
        return type(self).at


def test_sessions_that_nobody_closes_do_not_pile_up_over_a_day(tmp_path: Any) -> None:
    Virtual.at = 0
    kept = OpenSessions(tmp_path / "sessions.db", b"k" * 32)
    sessions = Sessions(Virtual(), minutes=60, kept=kept)
    for minute in range(0, 24 * 60, 10):
        Virtual.at = minute * MINUTE
        sessions.open("robot", "A program that logs in every ten minutes and forgets its token", [Role.OPERATOR])
        for end in sessions.ends():
            sessions.recorded(end)
    assert len(sessions._open) == 6 and len(kept.read()) == 6
    kept.close()


def test_a_method_that_a_client_makes_up_is_no_label_of_the_figures(bench: Any) -> None:
    token = bench.token("quality")
    for number in range(20):
        bench.client.request(f"BREW{number}", "/api/v1/cells", headers={"Authorization": f"Bearer {token}"})
    text = bench.ask("quality", "GET", "/metrics").text
    assert "BREW" not in text and 'method="other"' in text


def moving(canned: dict[str, Any], second: int) -> dict[str, Any]:
    """The cell a second later: new pressure, and each hour a new run with new units and alarms."""
    run = f"B{second // 3600:05d}-R1"
    trace = [[second * 1_000_000 + step * 33_333, str(Decimal(150 + step))] for step in range(30)]
    alarms = [{**alarm, "alarm": f"{run}/A{number:02d}"} for number, alarm in enumerate(canned["alarms"])]
    return {**canned, "at_us": (second + 1) * 1_000_000, "run": run, "trace": trace, "alarms": alarms}


def stretch(bench: Any, canned: dict[str, Any], drawn: Drawn, seconds: range) -> int:
    """Let so many virtual seconds go by with a view each and a question every ten; return the bytes that are held at the end."""
    feed = bench.workstation.feeds.of("cell-1")
    paths = ("/cells/cell-1/status", "/batches", "/orders", "/trail?limit=20", "/metrics", "/feed?once=true", "/session", "/nothing")
    for second in seconds:
        bench.cell.status_now = moving(canned, second)
        feed._asked = 0.0  # the next look asks the cell
        drawn.of(feed.view())
        if second % 10 == 0:
            bench.ask("quality", "GET", paths[second // 10 % len(paths)])
        if second % 3600 == 0:
            # a person comes and goes
            bench._tokens.pop("operator", None)
            bench.token("operator")
            bench.ask("operator", "DELETE", "/session")
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def grown(bench: Any, canned: dict[str, Any], seconds: int, parts: int) -> list[int]:
    """Return what each part of the time has left behind, after one for warming up."""
    drawn, part = Drawn(), seconds // (parts + 1)
    tracemalloc.start()
    try:
        held = [stretch(bench, canned, drawn, range(number * part, (number + 1) * part)) for number in range(parts + 1)]
    finally:
        tracemalloc.stop()
    return [after - before for before, after in itertools.pairwise(held)]


def test_minutes_of_views_and_questions_leave_nothing_behind(bench: Any, canned: dict[str, Any]) -> None:
    left = grown(bench, canned, 480, 3)
    assert min(left) < GROWTH // 4 and max(left) < GROWTH, left


@pytest.mark.deep
def test_a_virtual_day_of_views_and_questions_leaves_nothing_behind(bench: Any, canned: dict[str, Any]) -> None:
    left = grown(bench, canned, DAY_S, 7)
    assert sum(left) < 7 * GROWTH // 4, left

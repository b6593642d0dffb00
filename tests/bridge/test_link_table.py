"""The link's table of states: every state with every input, any bytes at all, and a conversation cut anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.errors import LocalProtocolError
from firmware_bridge.gcode_link import (
    GcodeLink,
    LinkEvent,
    LinkState,
    StopStrength,
    transition_table_markdown,
)
from firmware_bridge.link_values import TRANSITIONS, LinkInput
from tests.bridge.links import HELLO, NO_REPORTS, QUIET_HELLO, SECOND, STRICT, events, moves, ready

STATES: dict[LinkState, Callable[[], GcodeLink]] = {
    LinkState.NEW: lambda: GcodeLink(NO_REPORTS, exposure_limit_nl=9),
    LinkState.IDENTIFYING: lambda: _started(b""),
    LinkState.SYNCHRONISING: lambda: _started(QUIET_HELLO),
    LinkState.READY: ready,
    LinkState.STREAMING: lambda: _streaming(b""),
    LinkState.PROBING: lambda: _streaming(b"wait\nwait\n"),
    LinkState.STOPPED: lambda: _stopped(),
    LinkState.FAULTED: lambda: _streaming(b"!! x\n"),
}


def _started(data: bytes) -> GcodeLink:
    link = GcodeLink(NO_REPORTS, exposure_limit_nl=9)
    link.start(0)
    link.receive(data, 0)
    return link


def _streaming(data: bytes) -> GcodeLink:
    link = ready()
    link.submit(moves(6), 0)
    link.receive(b"ok N1 P15 B3\n" + data, 0)
    return link


def _stopped() -> GcodeLink:
    link = ready()
    link.stop(StopStrength.QUICKSTOP, 0)
    return link


INPUTS: dict[LinkInput, Callable[[GcodeLink], object]] = {
    LinkInput.START: lambda link: link.start(0),
    LinkInput.SUBMITTED: lambda link: link.submit(moves(1), 0),
    LinkInput.STOP: lambda link: link.stop(StopStrength.KILL, 0),
    LinkInput.PRINTER_RESTARTED: lambda link: link.receive(b"start\n", 0),
    LinkInput.FAULT: lambda link: link.lost("pulled"),
}
RAISING = (LinkInput.START, LinkInput.SUBMITTED)


@pytest.mark.parametrize("state", list(LinkState))
@pytest.mark.parametrize("given_input", list(INPUTS))
def test_every_state_and_outer_input_follows_the_table(state: LinkState, given_input: LinkInput) -> None:
    link = STATES[state]()
    assert link.state is state
    target = TRANSITIONS.get((state, given_input))
    if target is None and given_input in RAISING:
        with pytest.raises(LocalProtocolError):
            INPUTS[given_input](link)
    else:
        INPUTS[given_input](link)
    assert link.state is (target or state)


def test_terminal_states_have_no_way_out() -> None:
    for (state, _), target in TRANSITIONS.items():
        if state in (LinkState.STOPPED, LinkState.FAULTED):
            assert target is state


def test_the_document_shows_the_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "link.md").read_text(encoding="utf-8")
    assert transition_table_markdown() in text


CHATTER = st.sampled_from(
    [b"ok\n", b"ok N1 P15 B3\n", b"ok N2 P15 B3\n", b"Resend: 2\n", b"Error:checksum mismatch, Last Line: 1\n", b"Resend: 1\n",
     b"wait\n", b"start\n", b"ok T:1.0 /0.0 B:1.0 /0.0\n", b"echo:busy: processing\n", b"!! x\n", b"Error:", b"\n", b"N",
     b"ok P15 B3\n", HELLO, QUIET_HELLO, b"ok N0 P15 B3\n"]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(st.one_of(CHATTER, st.binary(max_size=60), st.integers(0, 20 * SECOND)), max_size=40), st.booleans())
def test_any_input_is_read_or_faults_and_never_raises(steps: list[bytes | int], advanced: bool) -> None:
    link = GcodeLink(NO_REPORTS if advanced else STRICT, exposure_limit_nl=100)
    now = 0
    link.start(now)
    for action in steps:
        if isinstance(action, int):
            now += action
            link.tick(now)
        else:
            link.receive(action, now)
        if link.state is LinkState.READY:
            link.submit(moves(5, exposure=30), now)
        data = link.bytes_to_send()
        assert not data or link.state not in (LinkState.STOPPED, LinkState.FAULTED)
        assert (link.fault is not None) == (link.state is LinkState.FAULTED)
        assert len(link._reader.buffer) <= link.profile.max_reply
        assert link.exposure_nl <= 100
        if link.state in (LinkState.STREAMING, LinkState.PROBING):
            assert link.next_deadline() is not None


CONVERSATION = (
    QUIET_HELLO
    + b"ok N0 P15 B3\n T:20.0 /0.0 B:20.0 /0.0 @:0 B@:0\nok N1 P15 B3\r\n"
    + b"X:0.00 Y:0.00 Z:0.00 E:0.00 Count X:0\nok N2 P15 B3\n"
)


@pytest.mark.parametrize("cut", range(0, len(CONVERSATION), 3))
def test_conversation_cut_anywhere_gives_the_same(cut: int) -> None:
    assert _converse([CONVERSATION[:cut], CONVERSATION[cut:]]) == _converse([CONVERSATION])


def test_conversation_byte_by_byte_gives_the_same() -> None:
    assert _converse([bytes((byte,)) for byte in CONVERSATION]) == _converse([CONVERSATION])


def _converse(chunks: list[bytes]) -> tuple[list[LinkEvent], bytes, LinkState]:
    link = GcodeLink(replace(NO_REPORTS), exposure_limit_nl=9)
    link.start(0)
    sent = link.bytes_to_send()
    for chunk in chunks:
        link.receive(chunk, 0)
        sent += link.bytes_to_send()
    return events(link), sent, link.state

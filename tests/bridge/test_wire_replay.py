"""A captured log fed through the machines again: it fits, and one change anywhere in what was sent is found at its place."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_bridge.firmware_profile import MARLIN_2_0, MARLIN_2_1
from firmware_bridge.gcode_lines import number_line
from firmware_bridge.gcode_link import GcodeLink, LinkState, OutLine, StopStrength
from firmware_bridge.modbus_rtu import with_crc
from firmware_bridge.mt_sics import MtSics
from firmware_bridge.pressure_modbus import ModbusMap, ModbusPressure
from firmware_bridge.wire_log import WireChunk, WireLog, read_wire_log
from firmware_bridge.wire_replay import (
    MT_SICS_REQUESTS,
    BalanceFollower,
    HubFollower,
    ModbusFollower,
    PrinterFollower,
    in_time_order,
    replay,
)
from tests.bridge import test_link_noise as noise


def printed(seed: int, *, advanced: bool, rate: float = 0.0, stop: bool = False) -> list[WireChunk]:
    """The log of a short print against the model, as the port owner writes it."""
    rng = random.Random(seed)
    link = GcodeLink(MARLIN_2_1 if advanced else MARLIN_2_0, exposure_limit_nl=10**9)
    model = noise.Model(advanced=advanced)
    log: list[WireChunk] = []
    now, submitted = 0, 0
    link.start(now)
    to_link: deque[tuple[int, bytes]] = deque()
    while now < 300_000_000:
        for _ in range(3):
            model.run(now, rng)
        if model.out:
            to_link.append((now + 300, noise.damage(bytes(model.out), rate, rng)))
            model.out.clear()
        while to_link and to_link[0][0] <= now:
            data = to_link.popleft()[1]
            if data:
                log.append(WireChunk(now, "printer", "<", data))
                link.receive(data, now)
        link.tick(now)
        if link.state is LinkState.READY and submitted < 24:
            link.submit([OutLine(c, str(i)) for i, c in enumerate(noise.PROGRAM[submitted : submitted + 12])], now)
            submitted += 12
        elif link.state is LinkState.READY:
            break
        if stop and submitted == 24 and link.pending < 6 and link.state is LinkState.STREAMING:
            log.append(WireChunk(now, "printer", "!", link.stop(StopStrength.KILL, now)))
            break
        data = link.bytes_to_send()
        if data:
            log.append(WireChunk(now, "printer", ">", data))
            for byte in noise.damage(data, rate, rng):
                model.feed(byte)
        if link.state is LinkState.FAULTED:
            break
        now = noise.step(now, link, model, deque(), to_link)
    return log


def follow(log: list[WireChunk], advanced: bool) -> str:
    result = replay(log, "printer", PrinterFollower(MARLIN_2_1 if advanced else MARLIN_2_0))
    return "" if result.first is None else f"{result.chunks}: {result.first.text}"


@pytest.mark.parametrize("advanced", [True, False])
@pytest.mark.parametrize("stop", [True, False])
def test_a_clean_log_is_followed_to_its_end(advanced: bool, stop: bool) -> None:
    for seed in range(20):
        log = printed(seed, advanced=advanced, stop=stop)
        result = replay(log, "printer", PrinterFollower(MARLIN_2_1 if advanced else MARLIN_2_0))
        assert result.first is None and result.chunks == len(log)
        assert result.sent == sum(len(chunk.data) for chunk in log if chunk.direction != "<")


@pytest.mark.parametrize("advanced", [True, False])
def test_a_log_with_resends_and_probes_is_followed(advanced: bool) -> None:
    logs = [printed(seed, advanced=advanced, rate=5e-4) for seed in range(150)]
    assert any(chunk.direction == "<" and b"Resend" in chunk.data for log in logs for chunk in log)
    lost = [found for log in logs if (found := follow(log, advanced))]
    assert len(lost) <= 150 // 20, lost[:5]


@pytest.mark.parametrize("advanced", [True, False])
def test_one_changed_byte_in_what_was_sent_is_found_there(advanced: bool) -> None:
    log = printed(1, advanced=advanced)
    sent = [index for index, chunk in enumerate(log) if chunk.direction == ">"]
    for index in sent:
        data = bytearray(log[index].data)
        data[len(data) // 2] ^= 1
        changed = [*log[:index], replace(log[index], data=bytes(data)), *log[index + 1 :]]
        result = replay(changed, "printer", PrinterFollower(MARLIN_2_1 if advanced else MARLIN_2_0))
        assert result.first is not None and result.chunks == index and result.first.at_us == log[index].at_us


def test_a_line_nobody_acknowledged_and_a_line_after_the_stop_are_found() -> None:
    log = printed(2, advanced=False)
    gap = next(index for index, chunk in enumerate(log) if chunk.direction == "<" and chunk.data.endswith(b"\nok\n") and index > 20)
    assert follow([*log[:gap], *log[gap + 1 :]], advanced=False)
    stopped = printed(3, advanced=True, stop=True)
    late = replace(stopped[-1], direction=">", data=b"N99 G1 X1*1\n")
    assert "STOPPED" in follow([*stopped, late], advanced=True)
    odd = replace(stopped[-1], data=b"M112")
    assert "not the bytes of a stop" in follow([*stopped[:-1], odd], advanced=True)


def test_neighbours_that_changed_places_are_put_in_order(tmp_path: Path) -> None:
    log = printed(4, advanced=True)
    shuffled = [chunk for pair in zip(log[1::2], log[::2], strict=False) for chunk in pair] + log[len(log) // 2 * 2 :]
    path = tmp_path / "wire.log"
    with_hub = WireLog(path)
    for chunk in shuffled:
        with_hub.append(chunk.direction, chunk.port, chunk.at_us, chunk.data)
    with_hub.append("<", "pressure", 5, b"1,2.0\n")
    with_hub.close()
    read = list(read_wire_log(path, with_hub.sha256))
    times = [chunk.at_us for chunk in in_time_order(read)]
    assert times == sorted(times) and replay(read, "printer", PrinterFollower(MARLIN_2_1)).first is None


def test_a_line_that_no_run_may_submit_and_bytes_that_are_no_line_are_found() -> None:
    whole = printed(5, advanced=True)
    log = whole[: next(index for index, chunk in enumerate(whole) if chunk.data.startswith(b"N4 "))]
    for data, said in ((number_line(4, b"M108"), "knows nothing"), (b"G1 X1\n", "knows nothing")):
        found = replay([*log, WireChunk(log[-1].at_us, "printer", ">", data)], "printer", PrinterFollower(MARLIN_2_1)).first
        assert found is not None and said in found.text and found.found == data
    first, rest = number_line(4, b"G1 X1")[:4], number_line(4, b"G1 X1")[4:]
    halves = [*log, WireChunk(log[-1].at_us, "printer", ">", first), WireChunk(log[-1].at_us, "printer", ">", rest)]
    assert replay(halves, "printer", PrinterFollower(MARLIN_2_1)).first is None


def test_order_is_restored_within_a_bounded_window() -> None:
    chunks = [WireChunk(at ^ 1, "p", "<", b"x") for at in range(3000)]
    assert [chunk.at_us for chunk in in_time_order(chunks)] == list(range(3000))


def balance_log() -> list[WireChunk]:
    talk = [
        (">", b"I2\r\n"), ("<", b'I2 A "X"\r\n'), (">", b"I3\r\n"), ("<", b'I3 A "1"\r\n'), (">", b"I4\r\n"), ("<", b'I4 A "B1"\r\n'),
        (">", b"S\r\n"), ("<", b"S S 1"), ("<", b".0 g\r\n"), (">", b"SI\r\n"), ("<", b"S D 1.1 g\r\n"), (">", b"S\r\n"), ("<", b"?\r\n"),
        (">", b"I4\r\n"), ("<", b'I4 A "B1"\r\n'), (">", b"S\r\n"), ("<", b"S S 1.0 g\r\n"),
    ]  # fmt: skip
    return [WireChunk(index * 1000, "balance", direction, data) for index, (direction, data) in enumerate(talk)]


def test_a_balance_log_is_followed_and_a_request_out_of_turn_is_found() -> None:
    log = balance_log()
    assert replay(log, "balance", BalanceFollower(MtSics(), MT_SICS_REQUESTS)).first is None
    early = [*log[:7], replace(log[9], at_us=6500), *log[7:]]
    found = replay(early, "balance", BalanceFollower(MtSics(), MT_SICS_REQUESTS)).first
    assert found is not None and found.at_us == 6500 and found.text == "the driver waits for an answer"
    unknown = [WireChunk(0, "balance", ">", b"T\r\n")]
    assert replay(unknown, "balance", BalanceFollower(MtSics(), MT_SICS_REQUESTS)).first is not None
    unasked = [WireChunk(0, "balance", ">", b"S\r\n")]
    assert replay(unasked, "balance", BalanceFollower(MtSics(), MT_SICS_REQUESTS)).first is not None


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"13,x\n", "cannot be read"), (b"15,1.0\n", "after a gap at sequence number 15"), (b"2,1.0\n", "sequence restarted")],
)
def test_the_first_gap_of_the_hub_is_found(data: bytes, said: str) -> None:
    log = [WireChunk(at, "pressure", "<", b"%d,1.0\n" % (at + 10)) for at in range(3)] + [WireChunk(9, "pressure", "<", data)]
    found = replay(log, "pressure", HubFollower()).first
    assert found is not None and found.at_us == 9 and said in found.text
    assert replay([WireChunk(0, "pressure", ">", b"x")], "pressure", HubFollower()).first is not None
    assert replay(log[:3], "pressure", HubFollower()) == replay(log[:3], "pressure", HubFollower())


def modbus_log(seed: int, answers: int = 60) -> tuple[list[WireChunk], ModbusPressure]:
    """Polls and answers as they came, some late, damaged, cut in two, refused or not at all; the caller ticks at each deadline."""
    rng = random.Random(seed)
    driver = ModbusPressure(ModbusMap())
    log: list[WireChunk] = []
    coming: list[tuple[int, bytes]] = []
    now = 1000
    driver.start(now)
    while driver.polls < answers:
        data = driver.bytes_to_send()
        if data:
            log.append(WireChunk(now, "pressure", ">", data))
            answer = with_crc(b"\x01\x04\x04" + rng.randbytes(1) + b"\x48\x00\x00")
            kind = rng.randrange(8)
            answer = {1: answer[:-1] + b"x", 2: with_crc(b"\x01\x84\x02"), 3: b""}.get(kind, answer)
            at = now + (150_000 if kind == 4 else rng.randrange(500, 60_000))
            cut = rng.randrange(len(answer) + 1)
            coming += [(at, answer[:cut]), (at + 700, answer[cut:])]
            coming.sort()
        due = driver.next_deadline() or 0
        if coming and coming[0][0] <= due:
            now, data = coming.pop(0)
            if data:
                log.append(WireChunk(now, "pressure", "<", data))
                driver.receive(data, now)
        else:
            now = max(now, due)
            driver.tick(now)
        while driver.next_event() is not None:
            pass
    return log, driver


def test_a_modbus_log_is_followed_to_its_end_and_comes_to_the_same() -> None:
    for seed in range(40):
        log, driver = modbus_log(seed)
        follower = ModbusFollower(ModbusMap())
        result = replay(log, "pressure", follower)
        assert result.first is None and result.chunks == len(log), (seed, result.first)
        again = follower.driver
        found = (again.readings, again.damaged, again.exceptions, again.unexpected_bytes, again.last)
        assert found == (driver.readings, driver.damaged, driver.exceptions, driver.unexpected_bytes, driver.last), seed


def test_a_modbus_poll_changed_or_out_of_turn_is_found_at_its_place() -> None:
    log, _ = modbus_log(3)
    sent = [index for index, chunk in enumerate(log) if chunk.direction == ">"]
    for index in sent[1:20]:
        changed = [*log[:index], replace(log[index], data=log[index].data[:-1] + b"\0"), *log[index + 1 :]]
        result = replay(changed, "pressure", ModbusFollower(ModbusMap()))
        assert result.chunks == index and result.first is not None and result.first.text == "another request"
    early = [log[0], replace(log[0], at_us=log[0].at_us + 10)]
    found = replay(early, "pressure", ModbusFollower(ModbusMap())).first
    assert found is not None and "waits for an answer" in found.text
    answered = [log[0], WireChunk(2000, "pressure", "<", with_crc(b"\x01\x84\x02")), replace(log[0], at_us=2010)]
    found = replay(answered, "pressure", ModbusFollower(ModbusMap())).first
    assert found is not None and found.text == "polled before it was due"

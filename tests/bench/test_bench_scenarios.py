"""The scenarios of hil_tests as a person runs them on a real bench: `--bench real.toml`, a question before each motion.

What stands in for the real bench is a served one, which the scenarios know by nothing but its ports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from hil_tests.cases import BenchConfigError, bench_for, parse_rate
from hil_tests.conftest import State, Strategy, VirtualOperator
from hil_tests.real_bench import RealBalance, RealBench, RealPressure, RealPrinter, load_real_bench
from hil_tests.serve import Server

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Callable[[list[str], str], str]]:
    """Run chosen scenarios on a served bench with the operator's answers; return what pytest says."""
    command = [sys.executable, "-m", "hil_tests.serve", "--case", "cyclophosphamide", "--free", "20"]
    bench = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    text = b""
    while not text.endswith(b"}\n"):
        text += bench.stdout.readline()
    ports = json.loads(text)["ports"]
    file = tmp_path / "real.toml"
    file.write_text('name = "stand-in"\n' + "".join(f'[{name}]\nport = "{path}"\n' for name, path in ports.items()))

    def run(answers: list[str], chosen: str) -> str:
        arguments = ["hil_tests", "--bench", str(file), "-k", chosen, "-p", "no:cacheprovider", "-p", "no:xdist", "-rA"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            input="".join(f"{answer}\n" for answer in answers),
            capture_output=True, text=True, cwd=ROOT, timeout=120, env=environment,
        )  # fmt: skip
        return done.stdout

    yield run
    bench.stdin.close()
    bench.wait(20)
    bench.stdout.close()


def test_each_motion_is_asked_for_and_made_when_allowed(real: Callable[[list[str], str], str]) -> None:
    said = real(["yes"] * 5, "printer_says or homes")
    assert "PASSED hil_tests/test_scenarios.py::test_it_homes_moves_and_reports_where_it_is" in said
    assert said.count("The machine will move: ") == 3
    assert "The machine will move: G28. Hands away?" in said


def test_after_a_refusal_nothing_more_is_done(real: Callable[[list[str], str], str]) -> None:
    said = real(["no"] + ["yes"] * 20, "printer_says or homes or heats or purge")
    assert "PASSED hil_tests/test_scenarios.py::test_the_printer_says_who_it_is" in said
    assert "FAILED hil_tests/test_scenarios.py::test_it_homes" in said
    assert "the operator did not allow G28" in said
    for later in ("test_it_heats", "test_a_purge"):
        assert f"ERROR hil_tests/test_scenarios.py::{later}" in said
    assert said.count("The machine will move: ") == 1


def test_real_bench_file(tmp_path: Path) -> None:
    file = tmp_path / "real.toml"
    ports = '[printer]\nport = "/dev/a"\nnozzle_c = "60"\n[balance]\nport = "/dev/b"\n[pressure]\nport = "/dev/c"\n'
    file.write_text('name = "Bench 2"\n' + ports)
    bench = load_real_bench(file)
    assert (bench.name, bench.printer.nozzle_c, bench.balance.driver) == ("Bench 2", Decimal(60), "mt-sics")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name =", "cannot read"),
        ('name = "x"\n', "printer: Field required"),
        ('name = ""\n[printer]\nport = "a"\n[balance]\nport = "b"\n[pressure]\nport = "c"\n', "name: "),
        ('name = "x"\n[printer]\nport = "a"\ncolour = 1\n[balance]\nport = "b"\n[pressure]\nport = "c"\n', "printer.colour"),
        ('name = "x"\n[printer]\nport = "a"\n[balance]\nport = "b"\ndriver = "kitchen"\n[pressure]\nport = "c"\n', "balance.driver"),
    ],
)
def test_a_real_bench_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "real.toml"
    file.write_text(text)
    with pytest.raises(BenchConfigError) as caught:
        load_real_bench(file)
    assert words in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("reached", [State.IDENTIFIED, State.HOMED])
def test_whoever_ends_the_session_early_leaves_no_hot_printer(reached: State) -> None:
    server = Server(bench_for("cyclophosphamide"), free=parse_rate("20"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        ports = {name: port.address for name, port in server.ports.items()}
        bench = RealBench(
            name="stand-in",
            printer=RealPrinter(port=ports["printer"]),
            balance=RealBalance(port=ports["balance"]),
            pressure=RealPressure(port=ports["pressure"]),
        )
        strategy = Strategy(bench, VirtualOperator(server), 20)
        strategy.reach(reached)
        strategy.send("M104 S40")
        assert server.bench.printer.nozzle.target == 40
        strategy.close()
        ended = threading.Event()
        for _ in range(400):
            if server.bench.printer.killed:
                break
            ended.wait(0.05)
        assert server.bench.printer.killed and server.bench.printer.nozzle.target == 0
    finally:
        server.stop()
        thread.join()

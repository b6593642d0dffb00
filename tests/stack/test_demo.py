"""`dosewright demo` as a person starts it: a batch that is released, faults that are not, and Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from gcodeparser import parse_gcode_lines
from pypdf import PdfReader

from audit.reader import TrailReader
from audit.release.package import read_package

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "api.cli"]
RATE = "400"
TARGET_UL = Decimal("389.31")


def dosewright(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)


def document_text(path: Path) -> list[str]:
    """The text of each page, without line breaks."""
    return [" ".join(page.extract_text().split()) for page in PdfReader(path).pages]


@dataclass(frozen=True)
class Demo:
    folder: Path
    output: str

    @property
    def package(self) -> Path:
        return self.folder / "review-package.zip"

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(zipfile.ZipFile(self.package).read("record.json"))
        return found

    def verify(self, *more: str) -> subprocess.CompletedProcess[str]:
        return dosewright("verify", str(self.package), *more)

    @property
    def trusted(self) -> tuple[str, str]:
        return "--trusted-key", str(self.folder / "site.vkey")


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo") / "demo"
    done = dosewright("demo", "--dir", str(folder), "--rate", RATE)
    assert done.returncode == 0, done.stdout + done.stderr
    return Demo(folder, done.stdout)


@pytest.fixture(
    params=[
        "clog:2",
        pytest.param("bubble:2", marks=pytest.mark.deep),
        pytest.param("drift:2", marks=pytest.mark.deep),
        pytest.param("unplug:2", marks=pytest.mark.deep),
    ]
)
def faulted(request: pytest.FixtureRequest, tmp_path: Path) -> Demo:
    folder = tmp_path / "demo"
    done = dosewright("demo", "--dir", str(folder), "--rate", RATE, "--units", "3", "--fault", request.param)
    assert done.returncode == 3, done.stdout + done.stderr
    return Demo(folder, done.stdout)


def net_volumes(program: str) -> Iterator[tuple[int, Decimal]]:
    """Net volume of each unit in µL, read by a parser that is not ours."""
    area = Decimal(str(re.search(r"^;E_AREA_MM2 (\S+)", program, re.MULTILINE)[1]))  # type: ignore[index]
    assert re.search(r"^M83", program, re.MULTILINE)
    for number, section in re.findall(r"^;UNIT (\d+)\n(.*?)^;END UNIT \1$", program, re.MULTILINE | re.DOTALL):
        moved = sum((Decimal(str(line.params["E"])) for line in parse_gcode_lines(section) if "E" in line.params), Decimal(0))
        yield int(number), moved * area


def test_worked_prescription_is_printed_and_released(released: Demo) -> None:
    for name in ("program.gcode", "release-record.pdf", "review-package.zip", "site.vkey", "workstation.db", "cell-1.db"):
        assert (released.folder / name).stat().st_size > 0, name
    record = released.record()
    assert record["disposition"] == "released"
    assert record["dose"]["bsa_m2"].startswith("0.74162")
    assert (record["dose"]["calculated_mg"][:7], record["dose"]["rounded_mg"]) == ("18.5405", "18.5")
    (strength,) = record["strengths"]
    assert strength["strength_mg"] == "18.5"
    target = {name: round(Decimal(value), 2) for name, value in strength["unit_target"].items()}
    assert target == {"mass_mg": Decimal("467.17"), "volume_uL": TARGET_UL}
    assert [(unit["n"], unit["verdict"]) for unit in record["units"]] == [(number, "accepted") for number in range(1, 15)]
    assert "Disposition: released" in released.output and "--trusted-key" in released.output


def test_its_accounts_are_sealed_at_the_cost_of_rfc_9106(released: Demo) -> None:
    with TrailReader(released.folder / "workstation.db") as reader:
        row = json.loads(reader.sealed("credentials", "operator"))
    assert (row["kdf"], row["passes"], row["memory_kib"], row["lanes"]) == ("argon2id", 3, 65536, 4)


def test_program_holds_the_dose_when_an_outside_reader_adds_it_up(released: Demo) -> None:
    volumes = dict(net_volumes((released.folder / "program.gcode").read_text(encoding="ascii")))
    assert list(volumes) == list(range(1, 15))
    for number, volume in volumes.items():
        assert abs(volume - TARGET_UL) / TARGET_UL <= Decimal("0.0005"), f"unit {number}: {volume} µL"
    assert (released.folder / "program.gcode").read_bytes() == zipfile.ZipFile(released.package).read("program.gcode")


def test_package_verifies_with_the_key_from_outside_only(released: Demo) -> None:
    verified = released.verify(*released.trusted)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    inside = released.verify()
    assert inside.returncode == 3 and "signer not established" in inside.stdout
    stores = [str(released.folder / name) for name in ("workstation.db", "cell-1.db")]
    assert dosewright("verify", *stores, *released.trusted).returncode == 0


def test_everything_says_that_it_is_a_demonstration(released: Demo) -> None:
    files = read_package(released.package).files
    assert json.loads(files["record.json"])["demonstration"] is True
    assert (
        b";DEMONSTRATION not for patients" in files["program.gcode"]
        and b";DEMONSTRATION not for patients" in files["program-planned.gcode"]
    )
    pages = document_text(released.folder / "release-record.pdf")
    assert pages and all("not for patients" in text.lower() for text in pages)
    trails = [name for name in files if name.startswith("trails/")]
    assert len(trails) == 2
    for name in trails:
        assert all(json.loads(line)["demonstration"] is True for line in files[name].splitlines())
    signatures = json.loads(files["record.json"])["signatures"]
    assert signatures and all(item["scripted"] is True for item in signatures if "scripted" in item)


def test_fault_is_stopped_recorded_and_not_released(faulted: Demo) -> None:
    record = faulted.record()
    assert record["disposition"] == "rejected"
    verdicts = {unit["n"]: unit["verdict"] for unit in record["units"]}
    assert verdicts[1] == "accepted" and verdicts[2] in {"rejected", "scrapped"} and verdicts.get(3) in {None, "planned"}
    assert next(unit for unit in record["units"] if unit["n"] == 2)["reasons"]
    assert record["alarms"] and record["deviations"]
    refusal, _, after = faulted.output.partition("Then a second person confirmed that unit 2 left the plate.")
    assert "refused:" in refusal and "removal" in refusal.split("refused:")[1] and after
    assert ".." not in faulted.output.replace("…", "")
    assert faulted.verify(*faulted.trusted).returncode == 0


def descendants(folder: Path) -> list[int]:
    """Processes that were started for a demonstration in this folder, besides the command itself."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"api.kept" in words and any(str(folder).encode() in word for word in words):
            found.append(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are looked up in /proc")
def test_interrupt_ends_every_child(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = subprocess.Popen(
        [*COMMAND, "demo", "--dir", str(folder), "--rate", "20"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # even where these tests run in the background
    )
    assert command.stdout is not None
    try:
        for line in command.stdout:
            if "every gate met, started" in line:
                break
        assert len(descendants(folder)) == 3
        os.kill(command.pid, signal.SIGINT)
        rest = command.communicate(timeout=120)[0]
    finally:
        command.kill()
        command.wait()
    assert command.returncode == 130
    assert "Traceback" not in rest
    limit = time.monotonic() + 30
    while descendants(folder) and time.monotonic() < limit:
        time.sleep(0.05)
    assert descendants(folder) == []

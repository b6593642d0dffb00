"""The real cell process, killed with SIGKILL at random moments, started again."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from stack import Stack

from audit.checkpoint import VerifierKey
from audit.reader import TrailReader
from audit.verify import verify_store

pytestmark = pytest.mark.stack

_LONGEST_US = 110_000_000
"""About what three units of minoxidil take, heating included."""


def killed_at(folder: Path, seed: int) -> None:
    draw = random.Random(f"kill:{seed}")
    moment = draw.randrange(_LONGEST_US)
    stack = Stack.start(folder)
    try:
        created = stack.ask().create_run(stack.job(days=3))
        run = str(created["run"])
        began = int(str(stack.ask().status()["at_us"]))
        started = False

        def due(status: dict[str, object]) -> bool:
            nonlocal started
            if status["state"] == "READY" and not started:
                started = True
                stack.ask().start(run, {"username": "operator", "name": "Demonstration operator", "role": "operator"})
            return int(str(status["at_us"])) - began >= moment or status["state"] == "AWAITING_REVIEW"

        stack.until(due)  # type: ignore[arg-type]
        stack.kill_cell()
        stack.start_cell()
        status = stack.ask().status()
        assert status["state"] == "AWAITING_REVIEW"
        assert status["ended"] in ("INTERRUPTED", "FINISHED")
        stack.children.close()
        reader = TrailReader(stack.folder / "cell-1.db")
        units = [state for _, state in reader.objects("unit")]
        intents = [entry.subject.id for entry in reader.search(kind="unit.print.intended", limit=100)]
        reader.close()
        assert all(unit["state"] == "judged" for unit in units)
        assert len(intents) == len(set(intents)) == len(units)
        truth = json.loads((stack.folder / "truth.json").read_text())
        assert len(truth) <= len(units), "nothing lies on the plate that has no intent on record, and nothing was printed twice"
        targets = [float(str(unit["target_mass_mg"])) for unit in units]
        assert all(float(row["true_mass_mg"]) < 1.1 * max(targets) for row in truth)
        keys = [VerifierKey.parse(line) for line in (stack.folder / "site.vkey").read_text().splitlines()]
        report = verify_store(stack.folder / "cell-1.db", keys)
        assert report.findings == ()
    finally:
        stack.close()


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_a_random_moment(tmp_path: Path, seed: int) -> None:
    killed_at(tmp_path / "site", seed)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(2, 500))
def test_killed_at_many_random_moments(tmp_path: Path, seed: int) -> None:
    killed_at(tmp_path / "site", seed)

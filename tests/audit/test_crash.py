"""The writer is killed at random moments: what is left is a sound trail that holds every entry it reported."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from audit.places import Place
from audit.verify import verify_store
from tests.audit.conftest import KEY, judged, new_store, open_store
from tests.audit.engines import Engine

ROOT = Path(__file__).parents[2]
WRITER = """
import itertools, sys
from tests.audit.conftest import judged, open_store
from tests.audit.test_write_faults import alone
store = open_store(sys.argv[1])
for n in itertools.count():
    print(store.append(*{drafts})[-1].seq, flush=True)
"""
PAIRS, ALONE = "(judged(n), judged(n + 1))", "[alone(n)]"
"""What the writer gives to each append: two entries with attachments, or one that brings nothing else with it."""


def _kill_after(path: Place, lines: int, drafts: str) -> int:
    """Start a writer, kill it once it has reported so many appends; return the last number it reported."""
    command = [sys.executable, "-c", WRITER.format(drafts=drafts), str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    assert process.stdout is not None
    reported = 0
    for _ in range(lines):
        reported = int(process.stdout.readline())
    process.kill()
    rest = process.stdout.read().split(b"\n")
    process.stdout.close()
    process.wait()
    return max([reported, *(int(line) for line in rest[:-1] if line)])


def _rounds(path: Place, count: int, seed: int, drafts: str) -> None:
    new_store(path).close()
    generator = random.Random(seed)
    for _ in range(count):
        reported = _kill_after(path, generator.randrange(1, 400), drafts)
        report = verify_store(path, [KEY.verifier])
        assert report.findings == ()
        with open_store(path) as store:
            assert store.size > reported, "an entry that was reported as written is gone"
            assert drafts == ALONE or store.size % 2 == 1, "half of an append is in the trail"
            store.append(judged(0), judged(1))
        assert verify_store(path, [KEY.verifier]).findings == ()


@pytest.mark.parametrize("drafts", [PAIRS, ALONE])
def test_kill_during_append(engine: Engine, drafts: str) -> None:
    _rounds(engine.place("t"), 4, seed=1, drafts=drafts)


@pytest.mark.deep
@pytest.mark.parametrize("drafts", [PAIRS, ALONE])
def test_kill_during_append_often(engine: Engine, drafts: str) -> None:
    for seed in range(10):
        _rounds(engine.place(f"t{seed}"), 10, seed=seed, drafts=drafts)

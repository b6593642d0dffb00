"""How every suite draws its examples, in which order its files begin, and where it writes.

Examples are not drawn against the clock, and they are the same ones at each run but in the deep suite. Files whose tests start whole
sites or browsers begin first: they have few tests and take longest, and one of them at the end would leave the other cores idle.

Ten thousand modules, functions and parameters are made while tests are collected, and all of them live until the end: the search for
garbage looks at none of them, neither meanwhile nor afterwards, or every test would pay for looking at all of them again.

Every commit of a store is synced. What the suites write lies in memory, where that costs nothing, if there is room and TMPDIR does not
say another place: no test can cut the power, so none can tell the difference.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", deadline=None, suppress_health_check=[HealthCheck.too_slow])

IN_MEMORY = Path("/dev/shm")
ROOM = 2 << 30


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()
    if "TMPDIR" not in os.environ and IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ROOM:
        os.environ["TMPDIR"] = tempfile.tempdir = str(IN_MEMORY)  # the processes that tests start go there too
    settings.load_profile("suite" if config.getoption("markexpr") == "not deep" else "deep")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    whole_runs = {item.path for item in items if any(item.get_closest_marker(name) for name in ("stack", "browser"))}
    items.sort(key=lambda item: item.path not in whole_runs)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    gc.freeze()
    gc.enable()

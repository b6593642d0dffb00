"""How every suite draws its examples, and in which order its files begin.

Examples are not drawn against the clock, and they are the same ones at each run but in the deep suite. Files whose tests start whole
sites or browsers begin first: they have few tests and take longest, and one of them at the end would leave the other cores idle.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", deadline=None, suppress_health_check=[HealthCheck.too_slow])


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("suite" if config.getoption("markexpr") == "not deep" else "deep")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    whole_runs = {item.path for item in items if any(item.get_closest_marker(name) for name in ("stack", "browser"))}
    items.sort(key=lambda item: item.path not in whole_runs)

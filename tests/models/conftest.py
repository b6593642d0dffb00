"""The sample batch of `tests/release` with a process model in its recipe."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from model_story import ModelStory, rule

from audit.release.conformity import Item


def _release_sample() -> Any:
    path = Path(__file__).resolve().parents[1] / "release" / "conftest.py"
    specification = importlib.util.spec_from_file_location("dosewright_release_sample", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


SAMPLE = _release_sample()


@pytest.fixture
def counting_clock() -> Any:
    return SAMPLE.CountingClock()


@dataclass
class ModelledBatch:
    """The batch, the story of its model, and what is said of the model."""

    batch: Any
    story: ModelStory

    def record(self) -> Any:
        return self.batch.record()

    def evidence(self) -> Any:
        (found,) = [item for item in self.record()["evidence"] if item["item"] == Item.MODELS_WITHIN.value]
        return found


@pytest.fixture
def write_sample(tmp_path: Path) -> Iterator[Callable[..., ModelledBatch]]:
    with ExitStack() as stack:

        def write(story: ModelStory, changes: dict[str, Any] | None = None, disposition: str | None = None) -> ModelledBatch:
            named = {name: value for name, value in {**rule(story.model), **(changes or {})}.items() if value is not None}
            facts = {"release_rules": {"process_models": [named]}}
            units = SAMPLE.plain_units("467.2", "468.0")
            scenario = SAMPLE.Scenario(units=units, disposition=disposition, facts=facts, models=story)
            return ModelledBatch(SAMPLE.Writer(tmp_path, scenario, stack).write(), story)

        yield write

"""What is shipped with the product: locked by hash, from no named index, under licences that allow it."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-dev.lock"]

LICENCE_EXCEPTIONS = {
    "docutils": "public domain and BSD; the one GPL file (an Emacs mode) is not in the wheel",
}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_and_hashed(lock: Path) -> None:
    text = lock.read_text("utf-8")
    assert not re.search(r"https?:|index-url|find-links|file:", text)
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert len(blocks) > 30
    for block in blocks:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z0-9,_-]+\])?==[^\s;]+", block), block[:60]
        assert "--hash=sha256:" in block, block[:60]


def test_no_gpl_in_what_is_shipped() -> None:
    seen = 0
    for name in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[a-z0-9,_-]+\])?==", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE):
        try:
            metadata = distribution(name).metadata
        except PackageNotFoundError:
            continue  # a requirement of another platform
        stated = [metadata.get("License-Expression") or "", (metadata.get("License") or "")[:200]]
        stated += [value for value in metadata.get_all("Classifier") or [] if value.startswith("License")]
        text = " ".join(stated)
        seen += 1
        if name not in LICENCE_EXCEPTIONS:
            assert not re.search(r"(?<!L)A?GPL|(?<!Lesser )General Public License", text), f"{name}: {text}"
    assert seen > 30

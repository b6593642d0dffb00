"""Orders and batches in short: read once, and then only what an entry has changed."""

from __future__ import annotations

from typing import Any

import pytest
import test_production as orders

from api.workstation.waiting import waiting


def test_only_what_an_entry_has_changed_is_read_again(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    production, store = bench.workstation.production, bench.workstation.store
    first = orders.enter(bench).json()["order"]
    assert [item.name for item in waiting(production, "operator")] == [first]
    asked: list[str] = []
    objects, state = store.objects, store.state
    monkeypatch.setattr(type(store), "objects", lambda self, kind: asked.append(kind) or objects(kind))
    monkeypatch.setattr(type(store), "state", lambda self, kind, name: asked.append(name) or state(kind, name))
    for _ in range(3):
        assert [item.text for item in waiting(production, "operator")] == ["waits for a second person"]
    assert waiting(production, "pharmacist")[0].text == "waits for a second person, who is not you"
    assert asked == []
    assert orders.confirm(bench, first).status_code == 200
    asked.clear()
    assert waiting(production, "operator")[0].text == "is confirmed: cartridge and gates come next"
    assert asked == [first]
    monkeypatch.undo()
    batch = bench.ask("operator", "POST", "/batches", {"order": first, "cell": "cell-1"}).json()["batch"]
    assert [(item.name, item.cell, item.text) for item in waiting(production, "operator")] == [(batch, "cell-1", "waits at its gates")]
    assert production.batches_of(first) == [batch]
    assert bench.ask("operator", "POST", f"/batches/{batch}/run").status_code == 200
    assert waiting(production, "operator") == ()

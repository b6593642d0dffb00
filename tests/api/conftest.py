"""A demonstration site laid out once, copied for each test, with a fake cell behind the real services."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from api.app import create_app
from api.site import Site, create_site
from api.wiring import Workstation, build_workstation
from recipes.library import load_demonstration

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its test client wants another distribution of httpx than the product uses
    from starlette.testclient import TestClient

# The services read the machine's clock: what they are given is dated from the day on which the tests run.
TODAY = datetime.now(UTC).date().isoformat()


def _load_fake_cell() -> ModuleType:
    path = Path(__file__).with_name("fake_cell.py")
    specification = importlib.util.spec_from_file_location("dosewright_fake_cell", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


fake_cell = _load_fake_cell()


@dataclass
class Bench:
    """What a test works with."""

    site: Site
    cell: Any
    workstation: Workstation
    client: TestClient
    _tokens: dict[str, str]

    def token(self, username: str) -> str:
        if username not in self._tokens:
            answer = self.client.post("/api/v1/session", json={"username": username, "password": self.site.passwords[username]})
            assert answer.status_code == 200, answer.text
            self._tokens[username] = answer.json()["token"]
        return self._tokens[username]

    def ask(self, username: str, method: str, path: str, body: object = None) -> Any:
        return self.client.request(method, f"/api/v1{path}", json=body, headers={"Authorization": f"Bearer {self.token(username)}"})

    def canned_unit(self, n: int) -> dict[str, Any]:
        """A unit that is planned, as the fake cell shows it."""
        return dict(fake_cell.unit(n))

    def signature(self, username: str, **more: object) -> dict[str, object]:
        return {"password": self.site.passwords[username], "scripted": True, **more}


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site") / "site"
    _, ink, cartridge = load_demonstration("cyclophosphamide", TODAY)
    return create_site(folder, inks=[(ink, cartridge)])


@pytest.fixture
def bench(laid_out: Site, tmp_path: Path) -> Iterator[Bench]:
    folder = tmp_path / "site"
    shutil.copytree(laid_out.folder, folder)
    cell = fake_cell.FakeCell(folder)
    workstation = build_workstation(folder, connector=cell.connect)
    with TestClient(create_app(workstation, page=False), base_url="http://localhost:8080", client=("127.0.0.1", 50000)) as client:
        yield Bench(laid_out, cell, workstation, client, {})
    workstation.close()
    cell.store.close()


@pytest.fixture
def canned() -> dict[str, Any]:
    return dict(fake_cell.canned_status())

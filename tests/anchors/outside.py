"""Witnesses and an authority behind a transport without a network, which can be made to fail."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from api.control_site.witness_app import create_witness
from audit.checkpoint import SigningKey
from audit.witness_store import WitnessStore

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its test client wants another distribution of httpx than the product uses
    from starlette.testclient import TestClient

Answer = Callable[[httpx.Request], httpx.Response]


@dataclass
class Outside:
    """Hosts by name. `away`: names that cannot be reached; `asked`: hosts in the order they were asked. Safe for several threads."""

    hosts: dict[str, Answer] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self._handle))

    def wait_until_asked(self, host: str, seconds: float = 90) -> None:
        """Return once this host has been asked; fail after so long."""
        with self._news:
            assert self._news.wait_for(lambda: host in self.asked, seconds), f"{host} was not asked within {seconds:g} s"

    def _handle(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        with self._news:
            self.asked.append(host)
            self._news.notify_all()
        if host in self.away or host not in self.hosts:
            raise httpx.ConnectError("no route to host", request=request)
        return self.hosts[host](request)

    def add_witness(self, host: str, store: WitnessStore, key: SigningKey, at: Callable[[], int] = lambda: 1_800_000_000) -> None:
        """Put the product's own witness application behind a host name."""
        client = TestClient(create_witness(store, key, at))

        def answer(request: httpx.Request) -> httpx.Response:
            found = client.request(request.method, request.url.path, content=request.read())
            return httpx.Response(found.status_code, headers={"content-type": found.headers["content-type"]}, content=found.content)

        self.hosts[host] = answer


def witness_store(path: Path, *trusted: SigningKey) -> WitnessStore:
    store = WitnessStore.create(path)
    for key in trusted:
        store.trust(key.verifier, 1)
    return store

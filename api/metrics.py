"""Figures of the process for Prometheus: requests and how long they took, sessions, the record, the cells. No person and no patient."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.wiring import Workstation
from audit.version import __version__

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _OfTheSite(Collector):
    """What is asked of the services at the moment of scraping; a cell that hangs is *not reachable* and holds nothing up for long."""

    def __init__(self, workstation: Workstation) -> None:
        self._workstation = workstation

    def collect(self) -> Iterable[Metric]:
        store = self._workstation.store
        version = GaugeMetricFamily("dosewright_build", "Version of the software that runs.", labels=["version"])
        version.add_metric([__version__], 1)
        yield version
        yield GaugeMetricFamily("dosewright_trail_entries", "Entries in the workstation's trail.", value=store.size)
        reachable = GaugeMetricFamily("dosewright_cell_reachable", "1 where the cell answers.", labels=["cell"])
        alarms = GaugeMetricFamily("dosewright_cell_open_alarms", "Alarms that nobody has acknowledged.", labels=["cell"])
        for name, view in self._workstation.feeds.views().items():
            reachable.add_metric([name], 0 if view.problem else 1)
            if not view.problem:
                alarms.add_metric([name], sum(alarm.is_open for alarm in view.status.alarms))
        yield reachable
        yield alarms


class Metrics:
    """The registry of one application. Concurrency: safe for several threads (the library's counters are)."""

    def __init__(self, workstation: Workstation) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_OfTheSite(workstation))
        self.requests = Counter(
            "dosewright_http_requests", "Requests by route and status.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "dosewright_http_request_seconds",
            "Seconds until an answer was sent.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def text(self) -> bytes:
        """Return all figures in the text format of Prometheus."""
        return generate_latest(self.registry)


class Measured:
    """ASGI middleware: counts each request under its route's pattern, so that no identifier becomes a label."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", None) or "other"
            # a method is whatever a client writes there; each label is kept for good
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(method, route).observe(time.perf_counter() - began)

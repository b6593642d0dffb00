"""The web application: routes, frontier, page. `python -m api.app --site FOLDER` serves one site."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api import (
    problems,
    routes_anchors,
    routes_care,
    routes_devices,
    routes_exceptions,
    routes_inks,
    routes_interop,
    routes_models,
    routes_packs,
    routes_people,
    routes_process,
    routes_production,
    routes_recalls,
    routes_recipes,
    routes_records,
    routes_retention,
    routes_stores,
    routes_trail,
)
from api.body_limits import BodyLimits
from api.errors import WorkstationError
from api.feed import FeedPlaces
from api.idempotency import ANSWERS_FILE, Idempotency, KeptAnswers
from api.log_in_rate import FailedLogIns, LogInRate
from api.metrics import Measured, Metrics
from api.problem_responses import PROBLEMS, Problem
from api.security import API, Frontier, Guard
from api.wiring import Workstation, build_workstation
from audit.errors import DosewrightError
from audit.version import __version__

_OPEN_TO_ALL = frozenset({f"{API}/session", f"{API}/health", f"{API}/ready", "/login"})
_ROUTERS = (
    routes_people.router,
    routes_production.router,
    routes_records.router,
    routes_devices.router,
    routes_care.router,
    routes_recipes.router,
    routes_inks.router,
    routes_exceptions.router,
    routes_interop.router,
    routes_process.router,
    routes_trail.router,
    routes_anchors.router,
    routes_models.router,
    routes_packs.router,
    routes_recalls.router,
    routes_stores.router,
    routes_retention.router,
)


def guards(app: FastAPI) -> Iterator[tuple[APIRoute, Guard | None]]:
    """Give every route of the application with what it declares."""
    for router in _ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute):
                found = [part.call for part in route.dependant.dependencies if isinstance(part.call, Guard)]
                yield route, found[0] if found else None


def openapi_document() -> dict[str, object]:
    """Return the description of the HTTP interface, without a site."""
    app = _application(openapi_url=None)
    return app.openapi()


def _application(*, openapi_url: str | None) -> FastAPI:
    """Return the application with its routes and the answers that each may give."""
    app = FastAPI(title="Dosewright", version=__version__, openapi_url=openapi_url, docs_url=None, redoc_url=None, responses=PROBLEMS)
    for router in _ROUTERS:
        app.include_router(router)
    describe = app.openapi

    def described() -> dict[str, object]:
        document = describe()
        document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
        return document

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's own way to extend the description
    return app


def create_app(workstation: Workstation, *, page: bool = True) -> FastAPI:
    """Build the application. Raises WorkstationError when a route declares no permission."""
    app = _application(openapi_url=f"{API}/openapi.json")
    app.state.workstation = workstation
    app.state.metrics = metrics = Metrics(workstation)
    app.state.feed_places = FeedPlaces()
    problems.install(app)
    undeclared = sorted(
        f"{sorted(route.methods or ())} {route.path}" for route, found in guards(app) if found is None and route.path not in _OPEN_TO_ALL
    )
    if undeclared:
        raise WorkstationError(f"Routes without a permission: {', '.join(undeclared)}.", remedy="Declare one with guard().")
    if page:
        from api.workstation.page import mount  # NiceGUI is loaded only where its page is wanted

        mount(app, workstation)
    # The last one added is the first that a request meets.
    app.add_middleware(Idempotency, answers=KeptAnswers(workstation.settings.path(ANSWERS_FILE), workstation.clock))
    app.add_middleware(BodyLimits)
    app.add_middleware(LogInRate, failed=FailedLogIns(workstation.clock))
    app.add_middleware(Measured, metrics=metrics)
    app.add_middleware(Frontier, sessions=workstation.sessions, hosts=frozenset(workstation.settings.allowed_hosts))
    return app


def main() -> int:
    """Serve one site until told to stop."""
    parser = argparse.ArgumentParser(description="Serve one Dosewright workstation.")
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--no-page", action="store_true", help="serve the interface without the workstation page")
    options = parser.parse_args()
    try:
        workstation = build_workstation(options.site)
        app = create_app(workstation, page=not options.no_page)
    except DosewrightError as error:
        sys.stderr.write(f"error {error.code}: {error}\n")
        return 2
    import uvicorn  # only the process that serves needs a server

    port = workstation.settings.port if options.port is None else options.port
    try:
        uvicorn.run(
            app,
            host=workstation.settings.host,
            port=port,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
            ws_max_size=1 << 20,
        )
    finally:
        if options.no_page:
            workstation.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

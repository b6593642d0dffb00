"""The web application: routes, frontier, page. `python -m api.app --site FOLDER` serves one site."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api import (
    language,
    problems,
    routes_access,
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
from api.frontier import PUBLIC, Frontier
from api.idempotency import Idempotency
from api.log_in_rate import FailedLogIns, LogInRate
from api.metrics import Measured, Metrics
from api.problem_responses import PROBLEMS, Problem
from api.security import API, Guard
from api.wiring import Workstation, build_workstation
from audit.errors import DosewrightError
from audit.version import __version__

_ROUTERS = (
    routes_people.router,
    routes_access.router,
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
    language.router,
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
        f"{method} {route.path}"
        for route, found in guards(app)
        for method in route.methods or ()
        if found is None and (method, route.path) not in PUBLIC
    )
    if undeclared:
        raise WorkstationError(f"Routes without a permission: {', '.join(undeclared)}.", remedy="Declare one with guard().")
    if page:
        from api.workstation.page import mount  # NiceGUI is loaded only where its page is wanted

        mount(app, workstation)
    # The last one added is the first that a request meets.
    app.add_middleware(Idempotency, answers=workstation.answers)
    app.add_middleware(BodyLimits)
    app.add_middleware(LogInRate, failed=FailedLogIns(workstation.clock))
    app.add_middleware(Measured, metrics=metrics)
    app.add_middleware(
        Frontier,
        sessions=workstation.sessions,
        hosts=frozenset(workstation.settings.allowed_hosts),
        perimeter=workstation.perimeter,
        record_ends=workstation.people.record_ends,
    )
    app.add_middleware(language.Spoken, site=workstation.settings.language)
    return app


def _path(relative: Path | None, workstation: Workstation) -> str | None:
    return None if relative is None else str(workstation.settings.path(relative))


def main() -> int:
    """Serve one site until told to stop."""
    parser = argparse.ArgumentParser(description="Serve one Dosewright workstation.")
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--no-page", action="store_true", help="serve the interface without the workstation page")
    options = parser.parse_args()
    try:
        serve_site(options.site, options.port, page=not options.no_page)
    except DosewrightError as error:
        sys.stderr.write(f"error {error.code}: {error}\n")
        return 2
    return 0


def serve_site(folder: Path, port: int | None, *, page: bool) -> None:
    """Serve the site in a folder, on its own port where none is given. Raises what `build_workstation` and `create_app` raise."""
    workstation = build_workstation(folder)
    app = create_app(workstation, page=page)
    import uvicorn  # only the process that serves needs a server

    try:
        uvicorn.run(
            app,
            host=workstation.settings.host,
            port=workstation.settings.port if port is None else port,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # who a proxy says that it speaks for is judged by the perimeter, against what is declared
            ssl_certfile=_path(workstation.settings.tls_certificate, workstation),
            ssl_keyfile=_path(workstation.settings.tls_key, workstation),
            timeout_graceful_shutdown=2,
            ws_max_size=1 << 20,
        )
    finally:
        if not page:
            workstation.close()


if __name__ == "__main__":
    sys.exit(main())

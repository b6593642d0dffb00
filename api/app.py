"""The web application: routes, frontier, page. `python -m api.app_process --site FOLDER` serves one site."""

from __future__ import annotations

import gc
import socket
import ssl
from collections.abc import Callable, Iterator
from importlib import import_module
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
    routes_equipment,
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
    routes_today,
    routes_trail,
    routes_trends,
)
from api.body_limits import BodyLimits
from api.described import completed
from api.errors import SettingsInvalid, WorkstationError
from api.feed import FeedPlaces
from api.frontier import PUBLIC, Frontier
from api.idempotency import Idempotency
from api.log_in_rate import FailedLogIns, LogInRate
from api.metrics import Measured, Metrics
from api.problem_responses import PROBLEMS
from api.security import API, Guard
from api.serving import Certificates, serve
from api.settings import Settings
from api.wiring import Workstation, build_workstation
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
    routes_today.router,
    routes_equipment.router,
    routes_trends.router,
    language.router,
)


_READ_BY_ROUTES = (routes_people.LogIn, routes_people.Resume, routes_access.FirstAdministrator, routes_devices.Stop)


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
        known = app.openapi_schema is not None
        document = describe()
        return document if known else completed(document, _READ_BY_ROUTES)

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's own way to extend the description
    return app


def create_app(workstation: Workstation, *, page: bool = True) -> FastAPI:
    """Build the application. Raises WorkstationError when a route declares no permission."""
    app = _application(openapi_url=f"{API}/openapi.json")
    app.state.workstation = workstation
    app.state.metrics = metrics = Metrics(workstation)
    app.state.feed_places = FeedPlaces()
    app.state.stop_threads = routes_devices.stop_threads(workstation.cells.names)
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
    app.add_middleware(BodyLimits, slowest_s=workstation.settings.body_seconds)
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


def load(*, page: bool) -> None:
    """Load all that serving takes and nothing of any site: who does it beforehand can serve at once."""
    if page:
        import_module("api.workstation.page")


def serve_site(
    folder: Path, port: int | None, *, page: bool, listener: socket.socket | None = None, up: Callable[[], None] = lambda: None
) -> None:
    """Serve the site in a folder, until told to stop; `up` is called when it is served.

    It is served on a socket that has its address already, or on the site's own port where neither is given.
    Raises what `build_workstation` and `create_app` raise.
    """
    workstation = build_workstation(folder)
    app = create_app(workstation, page=page)
    settings = workstation.settings
    # what is there now stays: it is not looked through again and again, which would hold up every answer for a tenth of a second
    gc.freeze()
    gc.enable()
    try:
        serve(
            app,
            host=settings.host,
            port=settings.port if port is None else port,
            listener=listener,
            up=up,
            headers_s=settings.header_seconds,
            tls=_tls(settings),
        )
    finally:
        if not page:
            workstation.close()


def _tls(settings: Settings) -> Callable[..., ssl.SSLContext] | None:
    """Return what gives the server its TLS, None where the site has none. Raises SettingsInvalid where its files cannot be used."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    try:
        certificates = Certificates(settings.path(settings.tls_certificate), settings.path(settings.tls_key))
    except OSError as error:
        raise SettingsInvalid(
            f"The TLS certificate or its key cannot be used: {error}.", remedy="Correct tls_certificate and tls_key; both are PEM files."
        ) from None
    return lambda *_: certificates.context

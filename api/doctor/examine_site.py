"""The checks of a site whose settings can be read: its trails, keys, cells, ports and its page."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from api.doctor import gather_keys, gather_trails
from api.doctor.clocks import judge_order
from api.doctor.examine_cell import CellPlace, cell_places, judge_ports_of
from api.doctor.finding import Finding, passed, warning
from api.doctor.gather_machine import seconds_of
from api.doctor.gather_web import web
from api.doctor.keys import judge_certificate, judge_key, judge_signer, judge_token
from api.doctor.section import guarded
from api.doctor.trails import WriterFacts, judge_anchors, judge_trail, judge_writer
from api.doctor.web import judge_web
from api.settings import Settings
from audit.checkpoint import SigningKey
from audit.patients import PatientVault
from audit.places import Place
from audit.second_factor import load_factor_key
from audit.signer import TokenEntry

WORKSTATION = "workstation"


def examine_site(settings: Settings, port: int | None) -> Iterator[Finding]:
    """Give the findings on everything that the settings name."""
    mark = ", demonstration" if settings.demonstration else ""
    cells = ", ".join(cell.name for cell in settings.cells) or "none"
    yield passed("site.settings", f"{settings.folder}: site {settings.site}{mark}; cells: {cells}")
    places: list[CellPlace] = []
    yield from guarded("site", lambda: _cells(settings, places))
    writer = gather_trails.writer(settings.store_place)
    yield from guarded("store", lambda: _workstation_trail(settings, writer))
    for place in places:
        if place.store is not None:
            yield from guarded("store", partial(_trail, place.name, place.store, place.key_file, place.token, place.folder))
    yield from guarded("keys", lambda: _workstation_keys(settings))
    yield from guarded("keys", lambda: _certificates(settings, places))
    for place in places:
        yield from guarded("ports", partial(judge_ports_of, place))
    yield from guarded("web", lambda: _web(settings, port, writer))


def _cells(settings: Settings, places: list[CellPlace]) -> Iterator[Finding]:
    for place, finding in cell_places(settings):
        places.append(place)
        yield finding


def _workstation_trail(settings: Settings, writer: WriterFacts) -> Iterator[Finding]:
    place, key_file = settings.store_place, settings.path(settings.signing_key)
    look = gather_trails.look(WORKSTATION, place)
    yield from _judge_look(look, writer, key_file, settings.signing_token, settings.folder)
    if not look.facts.problem:
        anchors = gather_trails.anchors_of(look.anchors, look.facts.origin, datetime.now(UTC))
        configured = bool(settings.witness) or settings.timestamp_authority is not None
        yield from judge_anchors(WORKSTATION, anchors, configured=configured, size=look.facts.size)


def _trail(name: str, place: Place, key_file: Path | None, token: TokenEntry | None, folder: Path) -> Iterator[Finding]:
    yield from _judge_look(gather_trails.look(name, place), gather_trails.writer(place), key_file, token, folder)


def _judge_look(
    look: gather_trails.TrailLook, writer: WriterFacts, key_file: Path | None, token: TokenEntry | None, folder: Path
) -> Iterator[Finding]:
    """Judge one trail with its writer, its key, and its last entry against the clock."""
    name = look.facts.name
    yield from judge_trail(look.facts)
    yield judge_writer(name, writer)
    if look.last_at is not None:
        yield from judge_order({name: gather_trails.behind_us(look.last_at, datetime.now(UTC))})
    if token is not None:
        yield judge_token(gather_keys.token(name, token, folder))
    elif key_file is not None:
        yield judge_key(gather_keys.key_file(f"{name} signing", key_file, SigningKey.load))
        yield from judge_signer(gather_keys.signer(name, key_file, look.verifier_key))


def _workstation_keys(settings: Settings) -> Iterator[Finding]:
    load_factors: Callable[[Path], object] = partial(load_factor_key, create=False)
    yield judge_key(gather_keys.key_file("patients", settings.path(settings.patients_key), PatientVault.load))
    nobody = "it is made with the first one-time password of a person"
    factors = settings.path(settings.second_factor_key)
    yield judge_key(gather_keys.key_file("second factors", factors, load_factors, absent_is_fine=nobody))
    seal = [settings.path(path) for path in (settings.seal, settings.seal_key, settings.seal_authority)]
    if not any(path.exists() for path in seal):
        yield passed("keys.file", "there is no seal yet: it is made with the first document", "seal of documents")
        return
    yield judge_key(gather_keys.key_file("seal of documents", seal[1]))
    yield judge_certificate(gather_keys.certificate("seal of documents", seal[0], key=seal[1], issuer=seal[2]), _now_s())


def _certificates(settings: Settings, places: list[CellPlace]) -> Iterator[Finding]:
    """Judge what the processes show each other, and what browsers are shown."""
    seen: set[Path] = set()
    for cell in settings.cells:
        own, key, ca = (settings.path(path) for path in (cell.certificate, cell.key, cell.ca))
        if own not in seen:
            seen.add(own)
            yield judge_key(gather_keys.key_file("workstation to cells", key))
            yield judge_certificate(gather_keys.certificate("workstation to cells", own, key=key, issuer=ca), _now_s())
    for place in places:
        if place.settings is not None:
            found = place.settings
            yield judge_key(gather_keys.key_file(f"{place.name} to workstation", found.key))
            facts = gather_keys.certificate(f"{place.name} to workstation", found.certificate, key=found.key, issuer=found.ca)
            yield judge_certificate(facts, _now_s())
    if settings.tls_certificate is None:
        if settings.host not in ("127.0.0.1", "localhost", "::1"):
            yield _plain_http(settings)
        return
    shown, private = settings.path(settings.tls_certificate), settings.path(settings.tls_key or settings.tls_certificate)
    wanted = tuple(host for host in settings.allowed_hosts if host not in ("127.0.0.1", "localhost", "[::1]"))
    yield judge_key(gather_keys.key_file("page", private))
    yield judge_certificate(gather_keys.certificate("page", shown, key=private, wanted_names=wanted), _now_s())


def _plain_http(settings: Settings) -> Finding:
    text = f"the workstation listens at {settings.host} without TLS: passwords travel in the open unless a proxy before it encrypts"
    return warning("keys.certificate", text, "Give tls_certificate and tls_key, or listen at 127.0.0.1 behind a proxy with TLS.", "page")


def _web(settings: Settings, port: int | None, writer: WriterFacts) -> Iterator[Finding]:
    certificate = None if settings.tls_certificate is None else settings.path(settings.tls_certificate)
    facts = web(
        settings.host,
        settings.port if port is None else port,
        named=next(iter(settings.allowed_hosts), settings.host),
        certificate=certificate,
        serving=bool(writer.process) if writer.known else None,
        is_root=os.geteuid() == 0,
    )
    yield judge_web(facts)


def _now_s() -> int:
    return seconds_of(datetime.now(UTC))

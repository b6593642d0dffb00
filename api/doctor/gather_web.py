"""What answers at the workstation's port: one GET of its health, which leaves no trace in the record."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from pathlib import Path

from api.doctor.gather_keys import same_certificate
from api.doctor.web import Answer, WebFacts

_PATIENCE_S = 3.0
_LONGEST = 4096
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 asked for, not listened at
_LOWEST = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def web(host: str, port: int, *, named: str, certificate: Path | None, serving: bool | None, is_root: bool) -> WebFacts:
    """Ask who answers. `named` is a host that the workstation answers to, `certificate` its TLS certificate where it has one."""
    if not port:
        return WebFacts(host, port)
    lowest = 0 if is_root else _lowest()
    if not _is_ours(host):
        return WebFacts(host, port, Answer.NO_ADDRESS)
    where = _EVERYWHERE.get(host, host)
    try:
        with socket.create_connection((where, port), timeout=_PATIENCE_S):
            pass
    except OSError:
        return WebFacts(host, port, Answer.NOBODY, lowest=lowest, serving=serving)
    answer, said, shown = _ask(where, port, named, tls=certificate is not None)
    same = same_certificate(shown, certificate) if shown is not None and certificate is not None else None
    return WebFacts(host, port, answer, said, lowest, serving, same)


def _ask(host: str, port: int, named: str, *, tls: bool) -> tuple[Answer, str, bytes | None]:
    connection: http.client.HTTPConnection
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # what is shown is compared with the file
        connection = http.client.HTTPSConnection(host, port, timeout=_PATIENCE_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE_S)
    try:
        connection.connect()
        shown = connection.sock.getpeercert(binary_form=True) if isinstance(connection.sock, ssl.SSLSocket) else None
        connection.request("GET", "/api/v1/health", headers={"Host": named})
        response = connection.getresponse()
        body = response.read(_LONGEST)
        if response.status == http.client.OK and json.loads(body) == {"status": "up"}:
            return Answer.WORKSTATION, "", shown
        return Answer.OTHER, f"status {response.status}", shown
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer.OTHER, type(error).__name__, None
    finally:
        connection.close()


def _is_ours(host: str) -> bool:
    """Say whether a server can listen at this address here; a port that nobody uses is asked for, and let go."""
    try:
        kind, _, _, _, address = socket.getaddrinfo(host or "0.0.0.0", 0, type=socket.SOCK_STREAM)[0]  # noqa: S104
        with socket.socket(kind) as trial:
            trial.bind(address)
    except OSError:
        return False
    return True


def _lowest() -> int:
    try:
        return int(_LOWEST.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 1024

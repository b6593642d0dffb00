"""The web process as it listens, asked over real sockets: slow clients, long headers, TLS and its certificates."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.errors import SettingsInvalid
from api.processes import free_port
from api.serving import Certificates
from api.settings import load_settings

PATIENCE_S = 60.0
LIMIT_S = 0.7
HEAD = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n"


def write_certificate(folder: Path, name: str, mark: str) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, told apart by its common name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, mark)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return certificate, private


@dataclass
class Served:
    """A web process of its own, under TLS, with short limits."""

    port: int
    folder: Path

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "site.pem"))

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        return self.trusting().wrap_socket(plain, server_hostname="localhost")

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], str]:
        client = http.client.HTTPSConnection("localhost", self.port, context=self.trusting(), timeout=PATIENCE_S)
        client.request(method, path, headers={"Host": f"localhost:{self.port}", **(headers or {})})
        answer = client.getresponse()
        text = answer.read().decode()
        client.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text


@pytest.fixture(scope="module")
def served(laid_out: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served") / "site"
    shutil.copytree(laid_out.folder, folder)
    write_certificate(folder, "site", "first")
    port = free_port()
    limits = {"DOSEWRIGHT_HEADER_SECONDS": str(LIMIT_S), "DOSEWRIGHT_BODY_SECONDS": str(LIMIT_S)}
    tls = {"DOSEWRIGHT_TLS_CERTIFICATE": "site.pem", "DOSEWRIGHT_TLS_KEY": "site.key"}
    command = [sys.executable, "-m", "api.app_process", "--site", str(folder), "--port", str(port), "--no-page"]
    with subprocess.Popen(command, env={**os.environ, **limits, **tls}, stderr=subprocess.PIPE) as process:
        found = Served(port, folder)
        try:
            await_port(port, process)
            yield found
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        assert process.poll() is None, "the process ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("nothing listens")


def trickle(connection: ssl.SSLSocket, begun: bytes) -> bytes:
    """Send the beginning, then a byte again and again; return all that came until the server closed the connection."""
    connection.settimeout(0.05)
    connection.sendall(begun)
    received, until = b"", time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            connection.sendall(b"a")
            block = connection.recv(4096)
        except TimeoutError:
            continue
        except OSError:
            return received
        if not block:
            return received
        received += block
    raise AssertionError(f"the connection was still open after {PATIENCE_S} s; received {received!r}")


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX-A: "])
def test_headers_that_trickle_end_the_connection(served: Served, begun: bytes) -> None:
    with served.connect() as connection:
        assert b"408" in trickle(connection, begun).split(b"\r\n")[0]


def test_a_connection_that_says_nothing_is_closed(served: Served) -> None:
    with served.connect() as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")
        assert connection.recv(4096) == b""


def test_headers_of_a_second_request_may_not_trickle_either(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in connection.recv(16384).split(b"\r\n")[0]
        assert b"408" in trickle(connection, b"GET /api/v1/health HT")


def test_a_body_that_trickles_is_given_up(served: Served) -> None:
    with served.connect() as connection:
        answer = trickle(connection, HEAD + b'\r\n{"username": "')
        assert b" 408 " in answer.split(b"\r\n")[0] and b"problem+json" in answer


def test_others_are_answered_while_slow_ones_hold_on(served: Served) -> None:
    held = [served.connect() for _ in range(30)]
    for connection in held:
        connection.sendall(b"GET /api/v1/health HT")
    assert served.ask("GET", "/api/v1/health")[0] == 200
    for connection in held:
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")
        connection.close()


def test_headers_without_end_are_refused(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * (40 << 10))
        assert b" 400 " in connection.recv(4096).split(b"\r\n")[0]


def test_answers_under_tls_say_that_nothing_else_is_to_be_used(served: Served) -> None:
    status, headers, _ = served.ask("GET", "/login")
    assert status == 200 and headers["strict-transport-security"] == "max-age=31536000"
    assert "server" not in headers and "x-powered-by" not in headers


def test_the_cookie_of_a_log_in_under_tls_is_for_tls_alone(served: Served, laid_out: Any) -> None:
    client = http.client.HTTPSConnection("localhost", served.port, context=served.trusting(), timeout=PATIENCE_S)
    body = f"username=operator&password={laid_out.passwords['operator']}"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Host": f"localhost:{served.port}"}
    client.request("POST", "/api/v1/session", body=body, headers=headers)
    cookie = (client.getresponse().getheader("set-cookie") or "").lower()
    client.close()
    assert all(word in cookie for word in ("secure", "httponly", "samesite=strict", "path=/"))


@pytest.mark.parametrize("ciphers", ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384"])
def test_ciphers_without_authentication_of_what_is_sent_are_refused(served: Served, ciphers: str) -> None:
    weak = served.trusting()
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers(ciphers)
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_S) as plain, pytest.raises(ssl.SSLError):
        weak.wrap_socket(plain, server_hostname="localhost")


def test_tls_is_1_2_or_1_3_with_forward_secrecy(tmp_path: Path) -> None:
    context = Certificates(*write_certificate(tmp_path, "a", "a")).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    for cipher in context.get_ciphers():
        assert cipher["aead"] and cipher["protocol"] in ("TLSv1.2", "TLSv1.3"), cipher["name"]
        assert cipher["protocol"] == "TLSv1.3" or "Kx=ECDH" in cipher["description"], cipher["name"]


def common_name(served: Served, trusted: Path) -> str:
    context = ssl.create_default_context(cafile=str(trusted))
    plain = socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_S)
    with context.wrap_socket(plain, server_hostname="localhost") as connection:
        subject: Any = (connection.getpeercert() or {})["subject"]
        return str(subject[0][0][1])


def test_a_new_certificate_is_used_without_a_restart_and_a_broken_one_is_not(served: Served, tmp_path: Path) -> None:
    certificate, key = served.folder / "site.pem", served.folder / "site.key"
    former, former_key = certificate.read_bytes(), key.read_bytes()
    trusted_before = tmp_path / "before.pem"
    trusted_before.write_bytes(former)
    assert common_name(served, trusted_before) == "first"
    try:
        certificate.write_bytes(b"half writ")
        assert common_name(served, trusted_before) == "first", "what cannot be used leaves the former one in use"
        renewed, renewed_key = write_certificate(tmp_path, "renewed", "second")
        shutil.copy(renewed_key, key)
        shutil.copy(renewed, certificate)
        assert common_name(served, renewed) == "second"
    finally:
        key.write_bytes(former_key)
        certificate.write_bytes(former)
    assert common_name(served, trusted_before) == "first"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('host = "0.0.0.0"', "nothing encrypts the way"),
        ('host = "192.0.2.7"', "nothing encrypts the way"),
        ('host = "::"', "nothing encrypts the way"),
        ('tls_certificate = "site.pem"', "go together"),
        ('host = "0.0.0.0"\ntls_certificate = "site.pem"\ntls_key = "site.key"', None),
        ('host = "0.0.0.0"\nproxies = ["10.0.0.1/32"]', None),
        ('host = "::1"', None),
        ('host = "localhost"', None),
    ],
)
def test_a_site_that_others_reach_in_the_clear_does_not_start(tmp_path: Path, lines: str, said: str | None) -> None:
    (tmp_path / "workstation.toml").write_text(f'site = "demonstration"\n{lines}\n')
    if said is None:
        load_settings(tmp_path)
        return
    with pytest.raises(SettingsInvalid, match=said):
        load_settings(tmp_path)

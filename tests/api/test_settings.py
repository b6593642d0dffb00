"""Deployment files: what is unknown is an error."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest

from api.certificates import write_private
from api.errors import SettingsInvalid, SiteExists, SiteIncomplete
from api.settings import FILE_NAME, load_settings
from api.site import Bench, create_site, write_cell_configuration
from printer.errors import CellConfiguration
from printer.wiring_cell import read_settings
from tests.audit.conftest import CHEAP


@pytest.fixture
def folder(laid_out: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(laid_out.folder, tmp_path / "site"))


def test_site_loads(folder: Path) -> None:
    settings = load_settings(folder)
    assert settings.demonstration and settings.store_place == (folder / "workstation.db").resolve()


@pytest.mark.parametrize("line", ["colour = 1", "audit = false", "port = 70000", 'site = "Not A Name"', "port = ", 'allowed_hosts = ["*"]'])
def test_wrong_file_is_refused(folder: Path, line: str) -> None:
    path = folder / FILE_NAME
    name = line.partition(" ")[0]
    kept = [text for text in path.read_text().splitlines() if not text.startswith(f"{name} ")]
    path.write_text("\n".join([line, *kept]))
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(folder)
    assert str(path) in caught.value.message and caught.value.remedy


def _with_store(folder: Path, store: str) -> None:
    kept = [text for text in (folder / FILE_NAME).read_text().splitlines() if not text.startswith("store ")]
    (folder / FILE_NAME).write_text("\n".join([f'store = "{store}"', *kept]))


def test_the_store_may_lie_in_postgresql(folder: Path) -> None:
    url = "postgresql://dosewright@db.example/records?schema=site_a"
    _with_store(folder, url)
    assert load_settings(folder).store_place == url


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("postgresql://dosewright:hunter22@db.example/records?schema=site_a", "holds a password.*PGPASSFILE"),
        ("postgresql://dosewright@db.example/records?schema=site_a&password=hunter22", "holds a password"),
        ("postgresql://dosewright@db.example/records", "no schema of its own"),
        ("mysql://dosewright@db.example/records?schema=site_a", "mysql://.*path of a file"),
    ],
)
def test_an_address_with_a_password_or_without_a_schema_is_refused(folder: Path, store: str, said: str) -> None:
    _with_store(folder, store)
    with pytest.raises(SettingsInvalid, match=said) as caught:
        load_settings(folder)
    assert "hunter22" not in str(caught.value)


def test_a_password_in_the_environment_is_refused_like_one_in_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOSEWRIGHT_STORE", "postgresql://dosewright:hunter22@db.example/records?schema=site_a")
    with pytest.raises(SettingsInvalid, match="holds a password"):
        load_settings(folder)


def test_a_cell_keeps_its_record_on_its_own_disk(folder: Path) -> None:
    path = write_cell_configuration(folder, machine="sse-20g-10ml", bench=Bench({}, "127.0.0.1:9", "00"))
    kept = [line for line in path.read_text().splitlines() if not line.startswith("store ")]
    path.write_text("\n".join(['store = "postgresql://cell@db.example/records?schema=cell_1"', *kept]))
    with pytest.raises(CellConfiguration, match="a file on its own disk"):
        read_settings(path)


def test_unknown_environment_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOSEWRIGHT_AUDIT_OFF", "1")
    with pytest.raises(SettingsInvalid, match="DOSEWRIGHT_AUDIT_OFF"):
        load_settings(folder)


def test_environment_overrides_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOSEWRIGHT_PORT", "8123")
    assert load_settings(folder).port == 8123


def test_folder_without_a_site(tmp_path: Path) -> None:
    with pytest.raises(SiteIncomplete):
        load_settings(tmp_path)
    with pytest.raises(SiteIncomplete):
        write_cell_configuration(tmp_path, machine="m", bench=Bench({}, "", ""))


def test_site_is_never_laid_out_over_another(folder: Path) -> None:
    with pytest.raises(SiteExists):
        create_site(folder, cost=CHEAP)


def test_cell_reads_what_is_written_for_it(folder: Path) -> None:
    bench = Bench({"printer": "/dev/a", "balance": "/dev/b", "pressure": "/dev/c"}, "127.0.0.1:9", "00")
    settings = read_settings(write_cell_configuration(folder, machine="sse-20g-10ml", bench=bench))
    assert settings.store.is_file() and settings.signing_key.is_file() and settings.trusted_people.is_file()
    assert (settings.name, settings.origin, settings.ports.balance) == ("cell-1", "cell-1.demonstration", "/dev/b")


def test_certificates_serve_mutual_tls(folder: Path) -> None:
    """A handshake in memory between the cell's and the workstation's certificate; without a certificate it fails."""
    tls = folder / "tls"
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tls / "ca.pem"))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(tls / "cell-1.pem", tls / "cell-1.key")
    client = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(tls / "ca.pem"))
    client.load_cert_chain(tls / "workstation.pem", tls / "workstation.key")
    stranger = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(tls / "ca.pem"))
    assert _handshake(server, client)
    with pytest.raises(ssl.SSLError):
        _handshake(server, stranger)


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname="cell-1")
    far = server.wrap_bio(to_server, to_client, server_side=True)
    done = {"near": False, "far": False}
    for _ in range(10):
        for name, side in (("near", near), ("far", far)):
            try:
                side.do_handshake()
                done[name] = True
            except ssl.SSLWantReadError:
                continue
    return all(done.values())


def test_private_file_is_never_written_over(tmp_path: Path) -> None:
    write_private(tmp_path / "key", b"first")
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "key", b"second")

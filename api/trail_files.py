"""Trails kept as files: stores, their backups, review packages, and lines of entries. Read for a search; nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from api.errors import InputInvalid
from audit.errors import DosewrightError, VerificationError
from audit.events import Entry
from audit.reader import TrailReader
from audit.release.trail_view import TrailView

_GENESIS = "0" * 64
_KINDS = (".db", ".jsonl", ".zip")


@dataclass(frozen=True, slots=True)
class TrailFile:
    """A trail of a file; `problem` where its chain does not hold: it is searched all the same, and the search says so."""

    name: str
    view: TrailView
    problem: str


def read_folder(folder: Path) -> tuple[TrailFile, ...]:
    """Return every trail in a folder; none where it does not exist. Raises InputInvalid for a file that cannot be read."""
    if not folder.is_dir():
        return ()
    return read_files(sorted(path for path in folder.iterdir() if path.suffix in _KINDS))


def read_files(paths: Iterable[Path]) -> tuple[TrailFile, ...]:
    """Return the trails of these files. Raises InputInvalid for a file that cannot be read."""
    return tuple(_trail(name, lines) for path in paths for name, lines in _lines(path))


def _lines(path: Path) -> list[tuple[str, list[bytes]]]:
    try:
        match path.suffix:
            case ".db":
                with TrailReader(path) as reader:
                    return [(path.name, list(reader.lines()))]
            case ".jsonl":
                return [(path.name, path.read_bytes().splitlines())]
            case ".zip":
                return _packaged(path)
            case _:
                raise InputInvalid(f"{path} is no trail.", remedy=f"Name files that end in {', '.join(_KINDS)}.")
    except OSError as error:
        raise InputInvalid(f"{path} cannot be read: {error.strerror}.", remedy="Name a file that you may read.") from None


def _packaged(path: Path) -> list[tuple[str, list[bytes]]]:
    from audit.release.package import read_package  # the package's reader is loaded only where there is one

    files = read_package(path).files
    found = [(f"{path.name}: {name}", bytes(files[name]).splitlines()) for name in files if name.startswith("trails/")]
    if not found:
        raise InputInvalid(f"{path} holds no trail.", remedy="Name a review package.")
    return found


def _trail(name: str, lines: Sequence[bytes]) -> TrailFile:
    try:
        view = TrailView(lines)
    except VerificationError as error:
        raise InputInvalid(f"{name}: {error.message}", remedy="Take the trail from its backup again.") from error
    return TrailFile(name, view, _problem(lines))


def _problem(lines: Sequence[bytes]) -> str:
    previous = _GENESIS
    for number, line in enumerate(lines):
        entry = Entry(line)
        try:
            fits = entry.seq == number and entry.prev == previous
        except (KeyError, ValueError, DosewrightError):
            fits = False
        if not fits:
            return f"entry {number} does not follow the one before it"
        previous = entry.digest
    return ""

"""How the person who reads a message calls the command: by its name where it is on the path, else by its place."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

NAME = "dosewright"


def command_name() -> str:
    """Return what to type for `dosewright` here."""
    called = Path(sys.argv[0])
    if called.stem != NAME or shutil.which(NAME) is not None:
        return NAME if shutil.which(NAME) is not None else f"{_shown(Path(sys.executable))} -m api.cli"
    return _shown(called)


def _shown(path: Path) -> str:
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)

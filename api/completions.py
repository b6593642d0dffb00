"""What a shell offers for a value: names of the library, of a site in a folder here, and files of a kind. Local, quick, and silent.

A shell that completes has no place for a message: what goes wrong here offers nothing, and the command that is then called says it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import typer

from api.quiet_store import connect_quietly

_LIBRARY = Path(__file__).resolve().parent.parent / "recipes" / "library"
_SITES = (Path("site"), Path())
_SITE_FILE = "workstation.toml"
_PATIENCE_S = 0.1
_MOST = 200
_MOST_FOLDERS = 50

Completion = Callable[[typer.Context, str], list[str]]


def _quietly(find: Callable[[typer.Context, str], Iterable[str]]) -> Completion:
    """Offer what begins with what was typed; where the answer cannot be found, whatever the reason, offer nothing."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return [name for name in find(ctx, incomplete) if name.startswith(incomplete)][:_MOST]
        except Exception:  # a damaged store, a folder that is gone: the command itself will say it
            return []

    return complete


def _recipes() -> list[str]:
    return sorted(path.stem for path in _LIBRARY.glob("*.toml"))


def _site(ctx: typer.Context) -> Path | None:
    """Return the folder of the site that the command is about: the one that it names, else one that is here."""
    named = [ctx.params.get(name) for name in ("site", "folder", "demonstration")]
    places = [*(Path(str(place)) for place in named if place is not None), *_SITES]
    return next((place for place in places if (place / _SITE_FILE).is_file()), None)


def _cells(ctx: typer.Context) -> list[str]:
    site = _site(ctx)
    if site is None:
        return []
    entries = tomllib.loads((site / _SITE_FILE).read_text(encoding="utf-8")).get("cells", [])
    return [str(entry["name"]) for entry in entries]


def _objects(kind: str) -> Completion:
    """Offer the objects of a kind that the workstation's own trail holds."""

    def find(ctx: typer.Context, incomplete: str) -> list[str]:
        site = _site(ctx)
        if site is None:
            return []
        with closing(connect_quietly(site / "workstation.db", _PATIENCE_S)) as connection:
            rows = connection.execute(
                "SELECT id FROM objects WHERE type = ? AND substr(id, 1, length(?)) = ? ORDER BY id LIMIT ?",
                (kind, incomplete, incomplete, _MOST),
            )
            return [str(row[0]) for row in rows]

    return _quietly(find)


def _files(*kinds: str) -> Completion:
    """Offer files of these kinds in the folder that was typed and in those below it; the shell itself offers folders further down."""

    def find(ctx: typer.Context, incomplete: str) -> list[str]:
        folder, _, _ = incomplete.rpartition("/")
        prefix = f"{folder}/" if folder or incomplete.startswith("/") else ""
        here = sorted((Path(prefix) if prefix else Path()).iterdir())[:_MOST]
        found = [f"{prefix}{path.name}" for path in here if path.is_file()]
        below = [path for path in here if path.is_dir() and not path.name.startswith(".")][:_MOST_FOLDERS]
        for path in below:
            if f"{prefix}{path.name}/".startswith(incomplete):
                found += [f"{prefix}{path.name}/{item.name}" for item in sorted(path.iterdir())[:_MOST] if item.is_file()]
        return [name for name in found if name.lower().endswith(kinds)]

    return _quietly(find)


cases = _quietly(lambda ctx, incomplete: _recipes())
recipe_ids = cases
cells = _quietly(lambda ctx, incomplete: _cells(ctx))
people = _objects("person")
recipe_versions = _objects("recipe")
models = _objects("model")
ink_lots = _objects("ink_lot")
cartridges = _objects("cartridge")
batches = _objects("batch")
recalls = _objects("recall")
faults = _quietly(lambda ctx, incomplete: ("clog", "bubble", "drift", "unplug"))
presets = _quietly(lambda ctx, incomplete: ("access", "refusals", "signatures", "people", "alarms", "recipes", "clock"))
stores = _files(".db")
packages = _files(".zip")
verifiable = _files(".zip", ".pdf", ".db")
keys = _files(".key")
verifier_keys = _files(".vkey")
solids = _files(".stl")
toml_files = _files(".toml")
json_files = _files(".json")


def criteria(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer what a recall searches by, and after `=` the values that the site knows."""
    names = ("ink_lot", "cartridge", "cell", "printer", "recipe", "equipment", "operator", "batch", "since", "until")
    known = {"ink_lot": ink_lots, "cartridge": cartridges, "cell": cells, "recipe": recipe_versions, "operator": people, "batch": batches}
    name, equals, value = incomplete.partition("=")
    if not equals:
        return [f"{known_name}=" for known_name in names if known_name.startswith(incomplete)]
    return [f"{name}={item}" for item in known[name](ctx, value)] if name in known else []

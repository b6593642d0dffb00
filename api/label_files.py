"""Labels of a batch as files, asked of a workstation as anybody may."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import JsonValue

from api.demo_desk import Desk
from api.errors import InputInvalid

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}\Z")
"""What may stand in the name of a file, whoever names the pack."""


def print_labels(desk: Desk, batch: str, body: dict[str, JsonValue], folder: Path) -> list[Path]:
    """Pack what is in no pack and print one label for each pack; return the files. Raises Refused, InputInvalid."""
    packs = [batch]
    if "-P" not in batch:
        seen = desk.get(f"/batches/{batch}/packs")
        if seen["unpacked"]:
            desk.post(f"/batches/{batch}/packs", {})
            seen = desk.get(f"/batches/{batch}/packs")
        rows = seen["packs"]
        packs = [str(row["pack"]) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    found = []
    for pack in packs:
        if not _PLAIN.match(pack):
            raise InputInvalid(f"{pack!r} is no number of a pack.", remedy="A pack is named like B00001-P01.")
        path = folder / f"label-{pack}.{body.get('form', 'pdf')}"
        data = desk.download(f"/packs/{pack}/label", body)
        try:
            path.write_bytes(data)
        except OSError as error:
            raise InputInvalid(
                f"{path} cannot be written: {error.strerror}; the label counts as printed.", remedy="Account for it, then print it again."
            ) from None
        found.append(path)
    return found

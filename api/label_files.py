"""Labels of a batch as files, asked of a workstation as anybody may."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue

from api.demo_desk import Desk
from api.errors import InputInvalid


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

"""Ways to change a review package, each as somebody without the site's keys, or with one of them, could."""

from __future__ import annotations

import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

from audit.canonical import canonical, sha256_hex
from audit.chain import entry_digest, root
from audit.checkpoint import SigningKey, format_checkpoint
from audit.release.archive import write_archive
from audit.release.package import FORMAT, RECORD, read_package

WS, CELL = "trails/ws.example.jsonl", "trails/cell-1.example.jsonl"


class Forger:
    """Somebody who holds keys of their own, of the same names as the site's."""

    def __init__(self, batch: Any) -> None:
        self.site = batch
        self.keys = {name: SigningKey.from_seed(name, bytes([7]) * 32) for name in ("ws.example", "cell-1.example")}

    def pack(self, path: Path, files: dict[str, bytes], key: SigningKey | None = None) -> Path:
        """Write the files with a new manifest, signed with the forger's key or the one given."""
        rest = {name: data for name, data in files.items() if name not in ("manifest.json", "manifest.note")}
        named = {name: sha256_hex(data) for name, data in rest.items()}
        scope = "selective" if any(name.startswith("proofs/") for name in files) else "whole"
        manifest = canonical({"format": FORMAT, "scope": scope, "created": "2026-11-20T10:00:00.000000Z", "files": named})
        note = (key or self.keys["ws.example"]).sign_note(f"{FORMAT}\n{sha256_hex(manifest)}\n").encode()
        path.write_bytes(write_archive({**rest, "manifest.json": manifest, "manifest.note": note}))
        return path

    def relink(self, files: dict[str, bytes], name: str) -> None:
        """Number and link the entries of a trail anew."""
        lines: list[bytes] = []
        for seq, line in enumerate(files[name].splitlines()):
            entry = json.loads(line)
            entry |= {"seq": seq, "prev": entry_digest(lines[-1]) if lines else "0" * 64}
            lines.append(canonical(entry))
        files[name] = b"".join(line + b"\n" for line in lines)

    def resign(self, files: dict[str, bytes]) -> None:
        for origin, key in self.keys.items():
            lines = files[f"trails/{origin}.jsonl"].splitlines()
            files[f"checkpoints/{origin}"] = key.sign_note(format_checkpoint(origin, len(lines), root(lines))).encode()


def mutate(kind: str, package: Path, to: Path, forger: Forger, generator: random.Random) -> str:
    """Write a changed copy of a package; return a word that a report on it must name."""
    data = package.read_bytes()
    files = dict(read_package(package).files)
    trail = generator.choice([WS, CELL])
    lines = files[trail].splitlines(keepends=True)
    name = generator.choice(sorted(files))
    one, two = sorted(generator.sample(range(len(lines)), 2))
    match kind:
        case "bit":
            place = generator.randrange(len(data))
            to.write_bytes(data[:place] + bytes([data[place] ^ 1 << generator.randrange(8)]) + data[place + 1 :])
            return ""
        case "cut":
            to.write_bytes(data[: generator.randrange(1, len(data))])
            return "container"
        case "appended":
            to.write_bytes(data + generator.randbytes(generator.randrange(1, 40)))
            return "container"
        case "duplicate":
            return _duplicate(to, files, name)
        case "file":
            position = generator.randrange(len(files[name]) + 1)
            files[name] = files[name][:position] + generator.randbytes(2) + files[name][position:]
            to.write_bytes(write_archive(files))
            return "" if name.startswith("manifest") else name
        case "replaced":
            # with the manifest's key: what the trails name is held against the trails
            name = generator.choice([RECORD, *(member for member in sorted(files) if member.startswith("runs/"))])
            files[name] = _replaced(files[name], generator)
            forger.pack(to, files, forger.site.key)
            return name
        case "exchanged":
            other = generator.choice(sorted(set(files) - {name}))
            if files[name] == files[other]:
                files[name] += b" "
            files[name], files[other] = files[other], files[name]
            to.write_bytes(write_archive(files))
            return "" if "manifest" in name + other else name
        case "left out":
            del files[name]
            to.write_bytes(write_archive(files))
            return "" if "manifest" in name else name
        case "swapped":
            lines[one], lines[two] = lines[two], lines[one]
        case "dropped":
            del lines[one]
        case "repeated":
            lines.insert(two, lines[one])
        case "truncated":
            del lines[two:]
        case "rechained" | "own key" | "resigned":
            lines[two] = _edited(lines[two], generator)
        case "signature":
            origin = generator.choice(sorted(forger.keys))
            note = files[f"checkpoints/{origin}"]
            text = note.partition(b"\n\n")[0] + b"\n"
            files[f"checkpoints/{origin}"] = forger.keys[origin].sign_note(text.decode()).encode()
            forger.pack(to, files, forger.site.key)
            return f"checkpoints/{origin}"
    files[trail] = b"".join(lines)
    if kind in ("rechained", "own key", "resigned"):
        forger.relink(files, trail)
    if kind in ("own key", "resigned"):
        origin = trail.removeprefix("trails/").removesuffix(".jsonl")
        forger.resign(files)
        forger.pack(to, files, forger.site.key if kind == "own key" else None)
        return origin
    # with the manifest's key: only the chain, the tree and the states stand against it
    forger.pack(to, files, forger.site.key)
    return trail.removeprefix("trails/").removesuffix(".jsonl")


KINDS = (
    "bit", "cut", "appended", "duplicate", "file", "replaced", "exchanged", "left out", "swapped", "dropped", "repeated", "truncated",
    "rechained", "own key", "resigned", "signature",
)  # fmt: skip


def _replaced(data: bytes, generator: random.Random) -> bytes:
    """Return a file of the same form in which one figure is another; a byte more where it has none."""
    figures = [place for place, byte in enumerate(data) if 48 < byte < 57]
    if not figures:
        return data + b"\n"
    place = generator.choice(figures)
    return data[:place] + bytes([data[place] + 1]) + data[place + 1 :]


def _edited(line: bytes, generator: random.Random) -> bytes:
    entry = json.loads(line)
    member = generator.choice(["at", "actor", "reason", "role", "device", "software"])
    entry[member] = f"{entry[member]}x"
    return canonical(entry) + b"\n"


def _duplicate(to: Path, files: dict[str, bytes], name: str) -> str:
    """Write a ZIP with a name twice: a reader that takes the last sees another file than one that takes the first."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member in sorted(files):
            archive.writestr(zipfile.ZipInfo(member), files[member])
            if member == name:
                # zipfile warns of a name twice; the second is written under another name of the same length and renamed below
                archive.writestr(zipfile.ZipInfo("~" * len(name)), files[member][::-1] + b"x")
    to.write_bytes(stream.getvalue().replace(b"~" * len(name), name.encode()))
    return name

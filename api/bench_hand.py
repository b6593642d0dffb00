"""A demonstration's hand at its virtual balance: it moves the check weight as a person would, before that person confirms.

Only demonstrations have one: the bench writes where it is into the site's `bench.json`. The cell knows nothing of it.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from api.errors import ProcessFailed

BENCH_FILE = "bench.json"


@dataclass(frozen=True, slots=True)
class BenchHand:
    """Where the bench of a demonstration takes orders for its hand."""

    address: str
    token: str

    def place(self, position: str, mass_mg: str) -> None:
        """Put the weight there; "empty" takes it off. Raises ProcessFailed."""
        host, _, port = self.address.rpartition(":")
        line = json.dumps({"token": self.token, "place": position, "mass_mg": float(mass_mg)}).encode("ascii") + b"\n"
        try:
            with socket.create_connection((host, int(port)), timeout=5) as connection, connection.makefile("rb") as answers:
                connection.sendall(line)
                answer = json.loads(answers.readline(1024) or b"{}")
        except (OSError, ValueError) as error:
            raise ProcessFailed(f"The bench does not move the weight: {error}.", remedy="Start the demonstration anew.") from error
        if not isinstance(answer, dict) or answer.get("placed") is not True:
            raise ProcessFailed(f"The bench knows no place {position!r} on its pan.", remedy="Use the bench of the same version.")

    def follow(self, check: Mapping[str, JsonValue]) -> None:
        """Do what the instruction of a check says: the weight to its place, or off the pan."""
        weight = check.get("weight")
        mass = str(weight.get("mass_mg")) if isinstance(weight, dict) else "0"
        position = check.get("position")
        self.place(position if isinstance(position, str) else "empty", mass)


def find_hand(folder: Path) -> BenchHand | None:
    """Return the hand of a demonstration site, None where it has none."""
    try:
        found = json.loads((folder / BENCH_FILE).read_text(encoding="utf-8"))
        return BenchHand(str(found["hand"]), str(found["token"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None

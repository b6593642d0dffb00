"""The look of the workstation: one quiet sheet of style for light and dark, with nothing fetched from outside.

Contrast of text is at least 4.5:1 in both; the largest words (state, masses, STOP) are readable at two metres.
"""

from __future__ import annotations

from importlib.resources import files


def _sheet(name: str) -> str:
    return (files("api.workstation") / "style" / f"{name}.css").read_text(encoding="utf-8")


LOGIN_STYLE = _sheet("tokens") + _sheet("login")
PAGE_STYLE = _sheet("tokens") + _sheet("page")
NEW_STYLE = _sheet("new")

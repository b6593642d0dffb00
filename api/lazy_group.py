"""A group of commands whose modules load when a command of theirs is called: help and shell completion stay quick.

What a shell needs before that, the name of a command and the line of help beside it, stands in a table; a test holds each line
against the command's own words.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


@dataclass(frozen=True, slots=True)
class Listed:
    """One command as it is listed: `place` is `module:attribute`, a function or a group of commands."""

    name: str
    place: str
    help: str

    def load(self) -> TyperCommand | TyperGroup:
        """Import the command. What its module raises on the way is not caught: a broken installation says so itself."""
        module, _, attribute = self.place.partition(":")
        target = getattr(importlib.import_module(module), attribute)
        if isinstance(target, typer.Typer):
            group = get_group(target)
            group.name = self.name
            return group
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(self.name)(target)
        command = get_command(alone)
        if not isinstance(command, TyperCommand):
            raise TypeError(f"{self.place} is no command")
        return command


class _Stub(TyperCommand):
    """Stands in a list for a command that is not loaded."""

    def __init__(self, listed: Listed) -> None:
        super().__init__(listed.name, help=listed.help, rich_markup_mode=None)
        self.listed = listed


class LazyGroup(TyperGroup):
    """A group with the commands of its table, listed without being loaded. Lifetime: one call of the program."""

    table: ClassVar[Sequence[Listed]] = ()

    def __init__(self, **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]  # typer's own, handed through
        own = list(self.commands.values())
        self.commands.clear()
        for listed in self.table:
            self.add_command(_Stub(listed))
        for command in own:
            self.add_command(command)

    def resolve_command(  # type: ignore[override]  # the type of a context is private to typer
        self, ctx: typer.Context, args: list[str]
    ) -> tuple[str | None, TyperCommand | TyperGroup | None, list[str]]:
        """Return the command that is called, loaded. Raises the usage error of typer where there is none of that name."""
        name, command, rest = super().resolve_command(ctx, args)
        if isinstance(command, _Stub):
            return name, command.listed.load(), rest
        return name, command, rest  # type: ignore[return-value]  # what a Typer registers is one of the two


def load_all(group: TyperGroup) -> dict[str, TyperCommand | TyperGroup]:
    """Return every command of a group by name, loaded; for who walks all of them."""
    return {
        name: command.listed.load() if isinstance(command, _Stub) else command  # type: ignore[misc]  # as above
        for name, command in group.commands.items()
    }

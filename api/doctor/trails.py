"""Whether a trail can be read, is of this version, ends where it says, and is signed by the key that is here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from api.doctor.finding import Finding, failed, not_checked, passed, span_text, warning

_EVIDENCE = "Stop the process, keep the file as evidence, run `dosewright verify` on it, and restore the backup: docs/backup.md."
_LATE_S = 25 * 3600
"""Anchors leave daily; an hour more is no news."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The last proof of one witness or authority for a trail: entries proved, and how many seconds ago; None where there is none."""

    by: str
    size: int
    age_s: int | None
    refusal: str


@dataclass(frozen=True, slots=True)
class TrailFacts:
    """What was read of one trail in one look. `problem` is why it could not be read; then nothing after `remedy` counts."""

    name: str
    place: str
    problem: str = ""
    remedy: str = ""
    revision: str = ""
    expected_revision: str = ""
    schema_differs: tuple[str, ...] = ()
    origin: str = ""
    size: int = 0
    named_digest: str = ""
    last_digest: str = ""
    checkpoint_size: int | None = None
    checkpoint_problem: str = ""
    demonstration: bool = False


@dataclass(frozen=True, slots=True)
class WriterFacts:
    """Who has the right to write a trail now. `known` is False where the machine does not tell; `process` is 0 where nobody has it."""

    known: bool
    process: int = 0
    why_unknown: str = ""


def judge_trail(facts: TrailFacts) -> Iterator[Finding]:
    name = facts.name
    if facts.problem:
        yield failed("store.readable", facts.problem, facts.remedy or _EVIDENCE, name)
        return
    mark = ", demonstration" if facts.demonstration else ""
    yield passed("store.readable", f"{facts.place}: {facts.origin}, {facts.size} entries{mark}", name)
    if facts.revision != facts.expected_revision:
        text = f"schema {facts.revision or 'without a number'}; this version knows {facts.expected_revision}"
        yield failed("store.schema", text, "Use the version of the software that made the store.", name)
    elif facts.schema_differs:
        yield failed("store.schema", f"another schema than it was made with: {', '.join(facts.schema_differs)}", _EVIDENCE, name)
    else:
        yield passed("store.schema", f"schema {facts.revision}, as this version makes it", name)
    yield _judge_end(facts)
    yield _judge_checkpoint(facts)


def _judge_end(facts: TrailFacts) -> Finding:
    if facts.named_digest != facts.last_digest:
        return failed("store.end", f"the last of {facts.size} entries is not the one that its object names", _EVIDENCE, facts.name)
    return passed("store.end", f"the last of {facts.size} entries is the one that its object names", facts.name)


def _judge_checkpoint(facts: TrailFacts) -> Finding:
    if facts.checkpoint_problem:
        return failed("store.checkpoint", facts.checkpoint_problem, _EVIDENCE, facts.name)
    if facts.checkpoint_size is None:
        return failed("store.checkpoint", "the trail has no signed checkpoint", _EVIDENCE, facts.name)
    if facts.checkpoint_size > facts.size:
        text = f"the last checkpoint signs {facts.checkpoint_size} entries, {facts.size} are there: entries are lost"
        return failed("store.checkpoint", text, _EVIDENCE, facts.name)
    since = facts.size - facts.checkpoint_size
    return passed("store.checkpoint", f"entries 0 to {facts.checkpoint_size - 1} signed by the trail's key, {since} since", facts.name)


def judge_writer(name: str, facts: WriterFacts) -> Finding:
    if not facts.known:
        return not_checked("store.writer", facts.why_unknown, name)
    if facts.process:
        return passed("store.writer", f"process {facts.process} writes it; everything here was read beside it", name)
    return passed("store.writer", "nobody writes it now", name)


def judge_anchors(name: str, anchors: tuple[Anchor, ...], *, configured: bool, size: int) -> Iterator[Finding]:
    """Say how old the last proof from outside is, of each witness and authority."""
    check = "store.anchors"
    if not configured:
        text = "no witness and no time-stamping authority is configured: nothing shows from outside that the trail was not rewritten"
        yield warning(check, text, "Configure [[witness]] or [timestamp_authority]: docs/integrator.md.", name)
    elif not anchors:
        yield warning(check, "nothing was anchored outside yet", "Run `dosewright anchor now`, and look at what it says.", name)
    for anchor in anchors:
        grown = size - anchor.size
        if anchor.refusal:
            yield failed(check, f"{anchor.by} refuses: {anchor.refusal}", "Clear it up with who runs it: docs/integrator.md.", name)
        elif anchor.age_s is None:
            text = f"{anchor.by} has proved nothing yet"
            yield warning(check, text, "Run `dosewright anchor now`, and look at what it says.", name)
        elif anchor.age_s > _LATE_S and grown:
            text = f"{anchor.by}: last proof {span_text(anchor.age_s)} ago, {grown} entries since; one is due daily"
            yield warning(check, text, "Run `dosewright anchor now`, and look at what it says.", name)
        else:
            yield passed(check, f"{anchor.by}: {anchor.size} entries, {span_text(anchor.age_s)} ago", name)

"""What the workstation's trail says of its own process: that it began and ended, with which configuration, and when its clock was set.

A change of the deployment file is no act in the software, so nobody signs it; but it is on record from the next start on, each key with
its old and its new value. Secrets are in none of these keys: the settings hold paths to them, and a password in an address is left out.
"""

from __future__ import annotations

import functools
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit, urlunsplit

from api.people import DEVICE
from api.settings import Settings
from audit.canonical import JsonObject, JsonValue, canonical, sha256_hex
from audit.errors import RecordError
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.store import TrailStore
from printer.clock_watch import ClockWatch

_LOOK_S = 1.0
_WORKSTATION = "workstation"
_FILES = ("trusted_signers",)
_ABSENT = "absent"


def configuration(settings: Settings, verifier_key: str) -> JsonObject:
    """Return the settings flat, one text a key, with the SHA-256 of the files that they trust and the verifier key that signs."""
    found: dict[str, JsonValue] = {"signer": verifier_key}
    for name, value in _flat("", settings.model_dump(mode="json")):
        found[name] = _without_password(str(value)) if name.endswith("url") else _scalar(value)
    trusted = [(name, settings.path(getattr(settings, name))) for name in _FILES]
    if settings.timestamp_authority is not None:
        trusted.append(("timestamp_authority.certificates", settings.path(settings.timestamp_authority.certificates)))
    for name, path in trusted:
        found[f"{name}.sha256"] = sha256_hex(path.read_bytes()) if path.is_file() else _ABSENT
    return dict(sorted(found.items()))


def _flat(prefix: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else str(name), item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, item in enumerate(value):
            yield from _flat(f"{prefix}.{number}", item)
    else:
        yield prefix, value


def _scalar(value: object) -> JsonValue:
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"…@{host}" if "@" in parts.netloc else host))


def started_entry(store: TrailStore, settings: Settings) -> EntryDraft:
    """Return the entry of a start: the digest of the configuration, and each key that is another than at the last start."""
    subject, now = Subject(_WORKSTATION, store.origin), configuration(settings, store.key.text)
    known = (store.state(subject.type, subject.id) or {}).get("configuration")
    before = known if isinstance(known, Mapping) else {}
    names = [name for name in sorted({*before, *now}) if before.get(name, _ABSENT) != now.get(name, _ABSENT)]
    changed: list[JsonValue] = [{"key": name, "old": before.get(name, _ABSENT), "new": now.get(name, _ABSENT)} for name in names]
    new: JsonObject = {"process": "started", "configuration_sha256": sha256_hex(canonical(now)), "changed": changed if before else []}
    if names:
        new["configuration"] = now
    return EntryDraft(EventKind.SITE_PROCESS_STARTED, subject, new, SYSTEM, DEVICE)


def stopped_entry(store: TrailStore) -> EntryDraft:
    return EntryDraft(EventKind.SITE_PROCESS_STOPPED, Subject(_WORKSTATION, store.origin), {"process": "stopped"}, SYSTEM, DEVICE)


@functools.cache
def process_name() -> str:
    """Return what names this process, and no other."""
    return secrets.token_hex(8)


class SiteClock:
    """Watches UTC against the steady clock for as long as the process runs; each step is an entry.

    Lifetime: from `start` to `close`. Concurrency: a thread of its own; `look` is its step. A step that cannot be recorded now is
    recorded by a later look: times that do not follow each other must not be without their reason.
    """

    def __init__(self, store: TrailStore, watch: ClockWatch | None = None) -> None:
        self._store = store
        self._watch = watch or ClockWatch()
        self._owed: list[int] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="site clock", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def look(self) -> None:
        """Compare the clocks, and record every step that is not on record yet."""
        if (compared := self._watch.look()) is not None:
            self._owed.append(compared.step_ms)
        while self._owed:
            subject = Subject(_WORKSTATION, self._store.origin)
            try:
                self._store.append(EntryDraft(EventKind.SITE_CLOCK_STEPPED, subject, {"step_ms": self._owed[0]}, SYSTEM, DEVICE))
            except RecordError:
                return
            del self._owed[0]

    def _run(self) -> None:
        while not self._closing.wait(_LOOK_S):
            self.look()

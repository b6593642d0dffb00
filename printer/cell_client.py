"""How the workstation asks a cell. The cell decides; a client can only ask."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from printer.errors import CellError, CellRefused, CellUnreachable, FrameInvalid, RunMissing
from printer.frames import REPLY_LIMIT, Greeting, Reply, Request, client_context, receive_frame, send_frame

_REMEDY = "Check in Equipment that the cell's process runs; a print in progress goes on without the workstation."


class CellAddress(BaseModel):
    """Where a cell listens and how the two know each other."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    host: str
    port: int
    name: str
    ca: Path
    certificate: Path
    key: Path


class CellClient:
    """A connection to one cell, opened when first needed and again after a loss, or after the cell closed it for having been idle.

    Lifetime: until `close`. Concurrency: safe for use from several threads; one question at a time. Where a question is not answered in its
    time, those that wait behind it are not asked: a cell that hangs keeps whoever asks it for the time of one question, not of all.
    """

    def __init__(self, address: CellAddress, *, timeout_s: float = 5.0) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._connection: ssl.SSLSocket | None = None
        self._nonce = ""
        self._counter = 0
        self._unanswered = 0

    def describe(self) -> dict[str, JsonValue]:
        return _object(self._ask("describe", {}))

    def create_run(self, job: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Hand a job over. Raises CellRefused with all reasons; nothing moves before `start`."""
        return _object(self._ask("create_run", {"job": dict(job)}, timeout_s=60.0))

    def start(self, run: str, actor: Mapping[str, str]) -> None:
        self._command("start", run, actor)

    def pause(self, run: str, actor: Mapping[str, str], reason: str) -> None:
        self._command("pause", run, actor, reason)

    def resume(self, run: str, actor: Mapping[str, str], reason: str) -> None:
        self._command("resume", run, actor, reason)

    def stop(self, run: str, strength: str, actor: Mapping[str, str], reason: str) -> None:
        """Stop: `finish_unit`, `quickstop` or `kill`."""
        self._command(f"stop.{strength}", run, actor, reason)

    def alarm(self, operation: str, alarm: str, actor: Mapping[str, str], reason: str, minutes: int = 0) -> None:
        """Acknowledge, reset, shelve (for `minutes`) or unshelve one alarm. Raises CellRefused with all reasons."""
        self._ask("alarm", {"operation": operation, "alarm": alarm, "actor": dict(actor), "reason": reason, "minutes": minutes})

    def alarm_figures(self, run: str | None = None) -> dict[str, JsonValue]:
        """Return the alarm figures of a run, or of all that is on the cell's record."""
        return _object(self._ask("alarm_figures", {"run": run}, timeout_s=30.0))

    def confirm_removal(self, unit: str, actor: Mapping[str, str], signature: Mapping[str, JsonValue]) -> None:
        """Hand over a second person's signature that a rejected unit is off the plate."""
        self._ask("confirm_removal", {"unit": unit, "actor": dict(actor), "signature": dict(signature)})

    def enter_weight(
        self,
        unit: str,
        *,
        entry: int,
        attempt: int,
        value_mg: str,
        balance_serial: str,
        actor: Mapping[str, str],
        signature: Mapping[str, JsonValue] | None,
    ) -> None:
        """Hand over what was read on the external balance; the second entry comes with its signature. Raises CellRefused."""
        body: dict[str, JsonValue] = {"unit": unit, "entry": entry, "attempt": attempt, "value_mg": value_mg}
        body |= {"balance_serial": balance_serial, "actor": dict(actor), "signature": None if signature is None else dict(signature)}
        self._ask("enter_weight", body)

    def begin_check(self, actor: Mapping[str, str]) -> dict[str, JsonValue]:
        """Begin the daily check of the balance; the answer is the check as it stands. Raises CellRefused."""
        return _object(self._ask("check.begin", {"actor": dict(actor)}))

    def confirm_check(self, actor: Mapping[str, str], step: str) -> dict[str, JsonValue]:
        """Say that what this step's instruction asks for is done."""
        return _object(self._ask("check.confirm", {"actor": dict(actor), "step": step}))

    def abandon_check(self, actor: Mapping[str, str], reason: str) -> dict[str, JsonValue]:
        return _object(self._ask("check.abandon", {"actor": dict(actor), "reason": reason}))

    def record_cleaning(self, actor: Mapping[str, str], method: str) -> dict[str, JsonValue]:
        """Put on record that the cell was cleaned by this method."""
        return _object(self._ask("cleaning", {"actor": dict(actor), "method": method}))

    def recipe_effective(self, bundle: Mapping[str, JsonValue], actor: Mapping[str, str]) -> None:
        """Tell the cell, by the signed bundle, that a recipe version is effective. Raises CellRefused."""
        self._ask("recipe.effective", {"bundle": dict(bundle), "actor": dict(actor)})

    def recipe_withdrawn(self, withdrawal: Mapping[str, JsonValue], actor: Mapping[str, str]) -> None:
        """Tell the cell, by the signed withdrawal, that a recipe version is not printed any more. Raises CellRefused."""
        self._ask("recipe.withdrawn", {"withdrawal": dict(withdrawal), "actor": dict(actor)})

    def readiness(self) -> dict[str, JsonValue]:
        """Return the gates that can be judged without a job, the register, and the check that is under way."""
        return _object(self._ask("readiness", {}))

    def status(self, trace_since_us: int = 0) -> dict[str, JsonValue]:
        return _object(self._ask("status", {"trace_since_us": trace_since_us}))

    def allowed(self, actor: Mapping[str, str] | None = None) -> dict[str, JsonValue]:
        """Return for each act on the run, its alarms and the cell why it would be refused now, to this person where one is named."""
        return _object(self._ask("allowed", {"actor": None if actor is None else dict(actor)}))

    def trail(self, start: int, limit: int = 2000) -> list[str]:
        """Return canonical lines of the cell's trail from entry `start`."""
        lines = self._ask("trail", {"start": start, "limit": limit}, timeout_s=30.0)
        return [str(line) for line in lines] if isinstance(lines, list) else []

    def checkpoint(self) -> str:
        return str(self._ask("checkpoint", {}))

    def pictures(self, run: str) -> dict[str, JsonValue]:
        """Return the pictures recorded with a run, SVG text by name; empty for a run that has none."""
        return _object(self._ask("pictures", {"run": run}))

    def blob(self, sha256: str) -> bytes:
        return base64.b64decode(str(self._ask("blob", {"sha256": sha256}, timeout_s=30.0)), validate=True)

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _command(self, operation: str, run: str, actor: Mapping[str, str], reason: str = "") -> None:
        self._ask("command", {"operation": operation, "run": run, "actor": dict(actor), "reason": reason})

    def _ask(self, op: str, body: dict[str, JsonValue], timeout_s: float | None = None) -> JsonValue:
        unanswered = self._unanswered
        with self._lock:
            if self._unanswered != unanswered:
                raise CellUnreachable(f"Cell {self._address.name} has not answered the question before this one.", remedy=_REMEDY)
            try:
                connection = self._connected()
                connection.settimeout(timeout_s or self._timeout_s)
                self._counter += 1
                send_frame(connection, Request(nonce=self._nonce, counter=self._counter, op=op, body=body))
                data = receive_frame(connection, REPLY_LIMIT)
                if data is None:
                    raise FrameInvalid("The cell closed the connection.")
                reply = Reply.model_validate(json.loads(data))
            except (OSError, FrameInvalid, ValidationError, ValueError) as error:
                # Whether the cell took the request is unknown: it is never sent again by itself.
                self._drop()
                self._unanswered += isinstance(error, TimeoutError)
                raise CellUnreachable(f"Cell {self._address.name} does not answer ({error}).", remedy=_REMEDY) from error
        return _result(reply)

    def _connected(self) -> ssl.SSLSocket:
        if self._connection is not None:
            if _is_quiet(self._connection):
                return self._connection
            self._drop()
        address = self._address
        context = client_context(address.ca, address.certificate, address.key)
        connection = self._connection = self._reached(context)  # `_drop` closes it where the cell goes before it has greeted
        data = receive_frame(connection, REPLY_LIMIT)
        greeting = Greeting.model_validate(json.loads(data or b"{}"))
        self._nonce, self._counter = greeting.nonce, 0
        return connection

    def _reached(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """Return a connection on which each has shown its certificate."""
        address = self._address
        last: OSError | ValueError = OSError(f"{address.host} has no address")
        for family, kind, protocol, _, where in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
            # Wrapped first and connected then: where the other side goes in between, `wrap_socket` leaves a connected socket open.
            connection = context.wrap_socket(socket.socket(family, kind, protocol), server_hostname=address.name)
            try:
                connection.settimeout(self._timeout_s)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.connect(where)
            except (OSError, ValueError) as error:
                connection.close()
                last = error
            else:
                return connection
        raise last

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _is_quiet(connection: ssl.SSLSocket) -> bool:
    """Whether nothing has come since the last answer. Between questions a cell never speaks: what comes then is the end."""
    connection.setblocking(False)
    try:
        connection.recv(1)
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False
    return False


def _result(reply: Reply) -> JsonValue:
    if reply.error is None:
        return reply.result
    if reply.reasons:
        raise CellRefused(reply.reasons, remedy=reply.remedy)
    kind = RunMissing if reply.code == RunMissing.code else CellError
    raise kind(reply.error, remedy=reply.remedy)


def _object(value: JsonValue) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise CellError("The cell answered with something else than was asked.", remedy="Use the same version on cell and workstation.")
    return value

"""Frames between workstation and cell: a length, then one JSON object. Never anything executable, never unbounded.

A connection begins with the cell's greeting and its nonce. Every request repeats the nonce and counts up by one, so a
frame that is sent again, or into another connection, is refused.
"""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from printer.errors import FrameInvalid

REQUEST_LIMIT = 4 * 1024 * 1024
REPLY_LIMIT = 64 * 1024 * 1024
_LENGTH = 4


class Greeting(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    cell: str
    nonce: str


class Request(BaseModel):
    """One question or command. `op` names it, `body` is checked by its handler's own schema."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    nonce: str
    counter: int
    op: str = Field(max_length=40)
    body: dict[str, JsonValue]


class Reply(BaseModel):
    """The answer to one request: either a result, or an error with its code and, for refusals, its reasons."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    counter: int
    result: JsonValue = None
    error: str | None = None
    code: str | None = None
    remedy: str = ""
    reasons: list[str] = []


def send_frame(connection: socket.socket, message: BaseModel) -> None:
    data = message.model_dump_json().encode("utf-8")
    connection.sendall(len(data).to_bytes(_LENGTH, "big") + data)


def receive_frame(connection: socket.socket, limit: int) -> bytes | None:
    """Return the next frame's bytes, or None where the peer has closed between frames. Raises FrameInvalid."""
    head = _exactly(connection, _LENGTH)
    if head is None:
        return None
    length = int.from_bytes(head, "big")
    if length > limit:
        raise FrameInvalid(f"A frame of {length} bytes exceeds the limit of {limit}.")
    data = _exactly(connection, length)
    if data is None:
        raise FrameInvalid("The connection ended inside a frame.")
    return data


def parse_request(data: bytes, *, nonce: str, counter: int) -> Request:
    """Check shape, nonce and counter of a request. Raises FrameInvalid."""
    try:
        request = Request.model_validate(json.loads(data))
    except (ValueError, ValidationError) as error:
        raise FrameInvalid(f"The request has not the shape it must have: {error.__class__.__name__}.") from error
    if request.nonce != nonce or request.counter != counter:
        raise FrameInvalid(f"Request {request.counter} does not follow: expected {counter} of this connection.")
    return request


def server_context(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.3, own certificate, and a client certificate of this installation's authority required."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(ca)
    return context


def _exactly(connection: socket.socket, length: int) -> bytes | None:
    chunks = bytearray()
    while len(chunks) < length:
        chunk = connection.recv(min(65536, length - len(chunks)))
        if not chunk:
            if chunks:
                raise FrameInvalid("The connection ended inside a frame.")
            return None
        chunks += chunk
    return bytes(chunks)

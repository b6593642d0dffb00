"""A person at the workstation, over HTTP: what the demonstration's accounts do is what anybody may do there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import httpx
from pydantic import JsonValue

from api.errors import NoWorkstation, WorkstationError
from api.status import CellStatus


class Refused(WorkstationError):
    """An answer of the workstation that is not what was asked for; `reasons` as it listed them."""

    def __init__(self, message: str, *, remedy: str, code: str, reasons: tuple[str, ...]) -> None:
        super().__init__(message, remedy=remedy)
        self.answer_code = code
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Desk:
    """One logged-in account. Lifetime: until `close`. Concurrency: one caller at a time."""

    username: str
    password: str
    client: httpx.Client

    @classmethod
    def log_in(cls, base: str, username: str, password: str) -> Desk:
        """Log in and keep the token. Raises Refused, NoWorkstation."""
        try:
            client = httpx.Client(base_url=f"{base}/api/v1", timeout=90.0)
        except httpx.InvalidURL as error:
            raise _nobody(base, str(error)) from None
        desk = cls(username, password, client)
        try:
            token = desk.post("/session", {"username": username, "password": password})["token"]
        except Exception:
            client.close()
            raise
        client.headers["Authorization"] = f"Bearer {token}"
        return desk

    @property
    def signature(self) -> dict[str, JsonValue]:
        """Re-authentication for one scripted signature."""
        return {"password": self.password, "scripted": True}

    def sign_now(self, *, username: str | None = None, password: str | None = None, digest: str | None = None) -> dict[str, JsonValue]:
        """Return a person's re-authentication for one signature, with a challenge for it and the digest of what was shown."""
        challenge = self.post("/session/signing-challenge")["challenge"]
        given: dict[str, JsonValue] = {"username": username or self.username, "password": self.password if password is None else password}
        return {**given, "challenge": challenge, **({} if digest is None else {"digest": digest})}

    def post(self, path: str, body: Mapping[str, JsonValue] | None = None) -> dict[str, JsonValue]:
        return self._read(self._ask("POST", path, body))

    def get(self, path: str) -> dict[str, JsonValue]:
        return self._read(self._ask("GET", path))

    def list(self, path: str) -> list[dict[str, JsonValue]]:
        """Return a whole list, page after page."""
        found: list[dict[str, JsonValue]] = []
        following: str | None = path
        while following is not None:
            answer = self._ask("GET", following)
            found += answer.json()
            link = answer.links.get("next", {}).get("url")
            following = None if link is None else str(answer.url.join(link))
        return found

    def download(self, path: str, body: Mapping[str, JsonValue] | None = None) -> bytes:
        return self._ask("POST", path, body).content

    def status(self, cell: str, since_us: int = 0) -> CellStatus:
        return CellStatus.model_validate_json(self._ask("GET", f"/cells/{cell}/status?trace_since_us={since_us}").content)

    def _ask(self, method: str, path: str, body: Mapping[str, JsonValue] | None = None) -> httpx.Response:
        """Ask the workstation. Raises Refused, NoWorkstation."""
        content = None if body is None else dict(body)
        try:
            response = self.client.request(method, path, json=content)
            if response.status_code == HTTPStatus.LOCKED:  # nobody asked for long, as in a slow demonstration: the account's password again
                self._checked(self.client.post("/session/resume", json={"password": self.password}))
                response = self.client.request(method, path, json=content)
            return self._checked(response)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise _nobody(str(self.client.base_url), str(error) or type(error).__name__) from error

    def _read(self, response: httpx.Response) -> dict[str, JsonValue]:
        try:
            answer: dict[str, JsonValue] = response.json()
        except ValueError:
            raise _nobody(str(self.client.base_url), "what answers there is another program") from None
        return answer

    def close(self) -> None:
        self.client.close()

    @staticmethod
    def _checked(response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        try:
            body = response.json()
        except ValueError:
            body = {}
        detail = str(body.get("detail", f"The workstation answered {response.status_code}."))
        reasons = tuple(str(reason) for reason in body.get("reasons", ()))
        raise Refused(detail, remedy=str(body.get("remedy", "")), code=str(body.get("code", "")), reasons=reasons)


def _nobody(address: str, why: str) -> NoWorkstation:
    return NoWorkstation(f"No workstation answers at {address}: {why.rstrip('.')}.", remedy="Start it, or name its address with --url.")

"""What a person hands in with a signed act, and how a service names the one who acts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.security import Permission, Session
from audit.events import Actor


class GivenFactor(BaseModel):
    """A second factor: a one-time password or recovery code, or the answer of a passkey as `navigator.credentials.get` gives it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str | None = Field(default=None, max_length=64)
    passkey: dict[str, JsonValue] | None = Field(default=None, max_length=20)

    @property
    def is_given(self) -> bool:
        return bool(self.code) or self.passkey is not None


class Credentials(GivenFactor):
    """Full re-authentication for one signature.

    `username` is the signer's own, or a second person's at another's session. `challenge` is a one-time challenge of
    `POST /session/signing-challenge`. `digest` is the SHA-256 of what the signer was shown. `scripted` marks a
    demonstration's signature that no person gave; it is open on demonstration sites only.
    """

    username: str | None = Field(default=None, max_length=64)
    password: str = Field(max_length=256)
    challenge: str | None = Field(default=None, max_length=64)
    digest: str | None = Field(default=None, max_length=64)
    scripted: bool = False


def actor_of(session: Session, permission: Permission) -> Actor:
    """Return the person of a session in the role that allows the act. Raises RoleMissing."""
    return Actor(session.username, session.name, session.role_for(permission).value)


def actor_record(actor: Actor) -> dict[str, str]:
    return {"username": actor.username, "name": actor.name, "role": actor.role}

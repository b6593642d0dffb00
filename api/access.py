"""What a person hands in with a signed act, and how a service names the one who acts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from api.security import Permission, Session
from audit.events import Actor


class Credentials(BaseModel):
    """Full re-authentication for one signature.

    `username` is for an act by a second person at another's session. `scripted` marks a demonstration's signature that
    no person gave; it is open on demonstration sites only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    username: str | None = Field(default=None, max_length=64)
    password: str = Field(max_length=256)
    scripted: bool = False


def actor_of(session: Session, permission: Permission) -> Actor:
    """Return the person of a session in the role that allows the act. Raises RoleMissing."""
    return Actor(session.username, session.name, session.role_for(permission).value)


def actor_record(actor: Actor) -> dict[str, str]:
    return {"username": actor.username, "name": actor.name, "role": actor.role}

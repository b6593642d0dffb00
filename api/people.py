"""Log-in, log-out and accounts, as the workstation offers them; what is recorded of them is the identity store's."""

from __future__ import annotations

from collections.abc import Iterable

from api.access import Credentials, actor_of
from api.errors import InputInvalid
from api.security import Permission, Session, Sessions
from audit.canonical import JsonObject
from audit.errors import LoginFailed
from audit.events import Subject
from audit.identity import Identity, Person, Role
from audit.signatures import Signature, sign

DEVICE = "workstation"


def person_record(person: Person) -> JsonObject:
    """Return what others may see of a person."""
    return {
        "username": person.username,
        "name": person.name,
        "roles": sorted(role.value for role in person.roles),
        "locked": person.locked,
        "verifier_key": person.verifier_key,
    }


class People:
    """Sessions and signatures of the people of a site.

    Lifetime: that of the workstation. Concurrency: safe for several threads (the store has one lock, the sessions another).
    """

    def __init__(self, identity: Identity, sessions: Sessions, *, demonstration: bool) -> None:
        self._identity = identity
        self._sessions = sessions
        self._demonstration = demonstration

    def log_in(self, username: str, password: str) -> tuple[str, Person]:
        """Authenticate and open a session; return its token. Raises LoginFailed; every attempt is an entry."""
        person = self._identity.authenticate(username, password)
        return self._sessions.open(person.username, person.name, person.roles), person

    def log_out(self, session: Session, token: str) -> None:
        self._sessions.close(token)
        self._identity.close_session(session.username)

    def people(self) -> list[JsonObject]:
        return [person_record(person) for person in self._identity.people()]

    def create(self, session: Session, *, username: str, full_name: str, roles: Iterable[Role], password: str) -> JsonObject:
        """Make an account. Raises RoleMissing, RecordError."""
        by = actor_of(session, Permission.MANAGE_PEOPLE)
        return person_record(self._identity.create_person(username, full_name, sorted(roles), password, by, issued=True))

    def unlock(self, session: Session, username: str, reason: str) -> JsonObject:
        return person_record(self._identity.unlock(username, actor_of(session, Permission.MANAGE_PEOPLE), reason))

    def change_password(self, session: Session, password: str, new_password: str) -> JsonObject:
        """Set an own new password. Raises LoginFailed, AccessDenied."""
        return person_record(self._identity.change_password(session.username, password, new_password))

    def holds(self, username: str | None, role: Role) -> bool:
        """Whether an account has a role; false where there is none."""
        person = None if username is None else self._identity.person(username)
        return person is not None and role in person.roles

    def sign(
        self, session: Session, credentials: Credentials, *, permission: Permission, meaning: str, digest: str, subject: Subject
    ) -> Signature:
        """Sign a digest after full re-authentication, in the role that allows the act.

        The signer is the person of the session, or a second person named in the credentials. Raises LoginFailed,
        SignatureRefused, RoleMissing; InputInvalid for a scripted signature where no demonstration is made.
        """
        if credentials.scripted and not self._demonstration:
            raise InputInvalid("A scripted signature is open on demonstration sites only.", remedy="Let a person sign.")
        username = credentials.username or session.username
        if username == session.username:
            role = session.role_for(permission)
        else:
            person = self._identity.person(username)
            if person is None:
                raise LoginFailed("The username or the password is wrong, or the account is locked.", remedy="Try again.")
            role = Session(person.username, person.name, frozenset(person.roles), 0).role_for(permission)
        return sign(
            self._identity,
            username,
            credentials.password,
            meaning=meaning,
            digest=digest,
            role=role,
            subject=subject,
            scripted=credentials.scripted,
        )

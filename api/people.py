"""Log-in, log-out, accounts and signatures, as the workstation offers them; what is recorded of them is the identity store's."""

from __future__ import annotations

import functools
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from api.access import Credentials, GivenFactor, actor_of
from api.allowed import Acts, Against, against, allowed_actions
from api.challenges import LIFETIME_S, Challenges
from api.errors import InputInvalid, NotFound, RemoteRefused
from api.factor_desk import FactorDesk
from api.perimeter import INSIDE, Origin
from api.security import Permission, Session, Sessions
from audit.access_policy import AccessPolicy, is_common
from audit.canonical import JsonObject
from audit.errors import LoginFailed, RecordError, SignatureRefused
from audit.events import EventKind, Subject
from audit.identity import Identity, Person, Role, SecondFactor
from audit.signatures import Signature, sign

DEVICE = "workstation"
_SIGNING = "signature"


def person_record(person: Person) -> JsonObject:
    """Return what others may see of a person."""
    lent: JsonObject = {role.value: until for role, until in person.lent}
    return {
        "username": person.username,
        "name": person.name,
        "roles": sorted(role.value for role in person.roles),
        "lent": lent,
        "locked": person.locked,
        "active": person.active,
        "verifier_key": person.verifier_key,
    }


def issued_password() -> str:
    """Return a random password of 96 bits in groups that can be typed; hexadecimal, so that no name is in it.

    One in twenty thousand has so few letters that they spell a common word, which the policy refuses: it is drawn anew.
    """
    while True:
        text = secrets.token_hex(12)
        issued = "-".join(text[start : start + 6] for start in range(0, len(text), 6))
        if not is_common(issued):
            return issued


@dataclass(frozen=True, slots=True)
class Shown:
    """What a signer must have seen, where it is not all in the request: its digest, and where it is shown: a page, and a route."""

    digest: str
    page: str
    route: str

    def where(self, session: Session) -> str:
        """Say it to a person at a page in the page's words, and to a program by the route, the page beside it."""
        return self.page if session.at_page else f"{self.route}, or {self.page}"


class People:
    """Sessions and signatures of the people of a site.

    Lifetime: that of the workstation. Concurrency: safe for several threads (the store has one lock, the sessions another).
    """

    def __init__(self, identity: Identity, sessions: Sessions, factors: FactorDesk, challenges: Challenges, *, demonstration: bool) -> None:
        self._identity = identity
        self._sessions = sessions
        self._factors = factors
        self._challenges = challenges
        self._demonstration = demonstration
        self._recording = threading.Lock()

    @property
    def policy(self) -> AccessPolicy:
        return self._identity.policy

    def password_set(self, username: str) -> str | None:
        """Return when a person's password was set (RFC 3339), None where it is not known."""
        person = self._identity.person(username)
        return None if person is None else person.password_set

    def log_in(self, username: str, password: str, *, origin: Origin = INSIDE, given: GivenFactor | None = None) -> tuple[str, Person]:
        """Authenticate and open a session; return its token. Raises LoginFailed, RemoteRefused; every attempt is an entry."""
        if origin.remote and not origin.encrypted:
            raise RemoteRefused("From outside, the way here is not encrypted.", remedy="Use the site's https address.")
        second = self._second(origin.remote, given or GivenFactor())
        person = self._identity.authenticate(username, password, second=second, remote=origin.remote)
        token = self._sessions.open(
            person.username, person.name, person.roles, remote=origin.remote, must_change=person.must_change, lent=person.lent
        )
        return token, person

    def log_out(self, session: Session, token: str) -> None:
        self._sessions.close(token)
        self._identity.close_session(session.username)

    def resume(self, session: Session, token: str, password: str, given: GivenFactor) -> JsonObject:
        """Open a locked session again, by full re-authentication. Raises LoginFailed, RemoteRefused."""
        person, _ = self._identity.reauthenticate(
            session.username,
            password,
            purpose=EventKind.PERSON_SESSION_RESUMED,
            new={},
            reason="re-authentication",
            second=self._second(session.remote, given),
        )
        self._sessions.resume(token, person)
        return person_record(person)

    def record_ends(self) -> bool:
        """Put on record what time ended or locked, each once; what the record does not take now stays to be recorded.

        Returns whether all is. Where somebody is at it already, it is left to them.
        """
        if not self._recording.acquire(blocking=False):
            return False
        try:
            for end in self._sessions.ends():
                self._identity.close_session(end.username, end.reason, end.kind)
                self._sessions.recorded(end)
        except RecordError:
            return False
        finally:
            self._recording.release()
        return True

    def people(self) -> list[JsonObject]:
        return [person_record(person) for person in self._identity.people()]

    def person_for(self, session: Session, username: str) -> JsonObject:
        """Return an account as others may see it, with what this person may do to it. Raises NotFound."""
        person = self._identity.person(username)
        if person is None:
            raise NotFound(f"There is no account {username!r}.", remedy="Look at the list of people.")
        judge = functools.partial(self._against, session, username)
        acts: Acts = {
            "unlock": judge(),
            "deactivate": judge(keeps_administrator=False),
            "password": against(lambda: session.role_for(Permission.MANAGE_PEOPLE)),
            "roles": judge(own=False),
            "deputy": judge(own=False),
            "factors/revoke": against(lambda: session.role_for(Permission.MANAGE_PEOPLE)),
        }
        return {**person_record(person), "allowed_actions": allowed_actions(acts)}

    def _against(self, session: Session, username: str, *, own: bool = True, keeps_administrator: bool = True) -> Against:
        """What stands against a change of an account, as the identity store refuses it."""
        return against(
            lambda: session.role_for(Permission.MANAGE_PEOPLE),
            lambda: self._identity.refuse_change(username, session.username, own=own, keeps_administrator=keeps_administrator),
        )

    def create(self, session: Session, *, username: str, full_name: str, roles: Iterable[Role], password: str | None = None) -> JsonObject:
        """Make an account; a password that is not given is made at random and shown this once. Raises RoleMissing, AccessDenied."""
        by, issued = actor_of(session, Permission.MANAGE_PEOPLE), password or issued_password()
        record = person_record(self._identity.create_person(username, full_name, sorted(roles), issued, by, issued=True))
        return record if password else {**record, "issued_password": issued}

    def unlock(self, session: Session, username: str, reason: str) -> JsonObject:
        return person_record(self._identity.unlock(username, actor_of(session, Permission.MANAGE_PEOPLE), reason))

    def deactivate(self, session: Session, username: str, reason: str) -> JsonObject:
        """Close an account for good, and its sessions at once."""
        person = self._identity.deactivate(username, actor_of(session, Permission.MANAGE_PEOPLE), reason)
        self._sessions.close_person(username)
        return person_record(person)

    def reset_password(self, session: Session, username: str, reason: str) -> JsonObject:
        """Issue a random password, shown this once, with a new key; the person must change it. Sessions end at once."""
        by, issued = actor_of(session, Permission.MANAGE_PEOPLE), issued_password()
        person = self._identity.reset_password(username, issued, by, reason)
        self._sessions.close_person(username)
        return {**person_record(person), "issued_password": issued}

    def change_roles(self, session: Session, username: str, roles: Iterable[Role], reason: str) -> JsonObject:
        """Give an account these roles and no others; its sessions end, so that nobody acts in a role they have no more."""
        by = actor_of(session, Permission.MANAGE_PEOPLE)
        person = self._identity.change_roles(username, sorted(roles), by, reason)
        self._sessions.close_person(username)
        return person_record(person)

    def lend_role(self, session: Session, username: str, role: Role, until: str, reason: str) -> JsonObject:
        """Let a person deputise in a role until a day, that day included."""
        by = actor_of(session, Permission.MANAGE_PEOPLE)
        person = self._identity.lend_role(username, role, until, by, reason)
        self._sessions.close_person(username)
        return person_record(person)

    def change_policy(self, session: Session, policy: AccessPolicy, reason: str) -> JsonObject:
        """Put another policy for access in force. Raises AccessDenied below the floor."""
        return self._identity.change_policy(policy, actor_of(session, Permission.MANAGE_PEOPLE), reason).as_record()

    def change_password(
        self, session: Session, password: str, new_password: str, *, token: str = "", given: GivenFactor | None = None
    ) -> JsonObject:
        """Set an own new password; other sessions of the person end. Raises LoginFailed, AccessDenied, RemoteRefused."""
        second = self._second(session.remote, given or GivenFactor())
        person = self._identity.change_password(session.username, password, new_password, second=second)
        self._sessions.close_person(session.username, but=session.key)
        if token:
            self._sessions.resume(token, person)
        return person_record(person)

    def signing_challenge(self, session: Session) -> JsonObject:
        """Return a challenge for one signature at this session."""
        return {"challenge": self._challenges.issue(_SIGNING, session.key), "seconds": LIFETIME_S}

    def holds(self, username: str | None, role: Role) -> bool:
        """Whether an account has a role; false where there is none."""
        person = None if username is None else self._identity.person(username)
        return person is not None and role in person.roles

    def sign(
        self,
        session: Session,
        credentials: Credentials,
        *,
        permission: Permission,
        meaning: str,
        digest: str,
        subject: Subject,
        shown: Shown | None = None,
    ) -> Signature:
        """Sign a digest after full re-authentication, in the role that allows the act.

        The signer is the person of the session, or a second person named in the credentials. `shown` is what the signer
        must have seen; where it is None, all that is signed stands in the request. Raises LoginFailed, SignatureRefused
        (a request sent twice, something else than was shown, no username), RoleMissing, RemoteRefused; InputInvalid for a
        scripted signature where no demonstration is made.
        """
        username = credentials.username or session.username
        sequence = self._admit(session, credentials, shown)
        if username == session.username:
            role = session.role_for(permission)
        else:
            person = self._identity.person(username)
            if person is None:  # refused like a wrong password, at the same cost, and recorded
                self._identity.authenticate(username, credentials.password)
                raise LoginFailed(f"There is no account {username}.", remedy="Check the user name.")
            role = Session(person.username, person.name, frozenset(person.roles), 0).role_for(permission)
        signature = sign(
            self._identity,
            username,
            credentials.password,
            meaning=meaning,
            digest=digest,
            role=role,
            subject=subject,
            scripted=credentials.scripted,
            second=None if sequence else self._second(session.remote, credentials),
        )
        if username == session.username:
            self._sessions.note_signature(session)
        return signature

    def _admit(self, session: Session, credentials: Credentials, shown: Shown | None) -> bool:
        """Refuse a request for a signature that no person made just now. Returns whether the password alone may do."""
        if credentials.scripted:
            if not self._demonstration:
                raise InputInvalid("A scripted signature is open on demonstration sites only.", remedy="Let a person sign.")
            return False
        if not session.at_page and not self._challenges.take(credentials.challenge or "", _SIGNING, session.key):
            raise SignatureRefused(
                "This request for a signature has no open challenge: it was sent before, or too late.",
                remedy="Ask POST /api/v1/session/signing-challenge for one, and send each request once.",
            )
        if shown is not None and credentials.digest is None:
            raise SignatureRefused("Nothing says what you were shown.", remedy=f"Look at it first: {shown.where(session)}.")
        if shown is not None and credentials.digest != shown.digest:
            raise SignatureRefused(
                "What would be signed is not what was shown: it has changed since.", remedy=f"Look at it again: {shown.where(session)}."
            )
        sequence = self._sessions.in_sequence(session) and credentials.username in (None, session.username)
        if not sequence and credentials.username is None and not session.at_page:
            raise SignatureRefused("A signature needs user name and password.", remedy="Send the signer's user name too.")
        return sequence

    def _second(self, remote: bool, given: GivenFactor) -> SecondFactor | None:
        """Return the judge of a second factor where one is needed or given. Raises RemoteRefused where it is needed and missing."""
        if not given.is_given:
            if remote:
                raise RemoteRefused(
                    "From outside, a second factor is needed.", remedy="Give a one-time password, a recovery code or a passkey with it."
                )
            return None
        return self._factors.judge(given)

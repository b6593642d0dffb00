"""Second factors as the workstation offers them: enrolment at the site, passkey ceremonies, and the judgement of what is given.

Passkeys follow W3C Web Authentication Level 3: 7.1 registration, 7.2 authentication (the webauthn package); relying party
and origins are of the deployment, never of the request. The package is loaded at the first ceremony (`api.passkeys`): the workstation
comes up sooner without it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from api.access import GivenFactor, actor_of
from api.challenges import Challenges
from api.errors import InputInvalid, RemoteRefused
from api.qr_code import qr_svg
from api.security import Permission, Session
from audit.canonical import JsonObject
from audit.errors import LoginFailed
from audit.events import EventKind
from audit.identity import FactorVerdict, Identity, Person, SecondFactor
from audit.second_factor import PASSKEY, SecondFactors


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Who asks for passkeys: domain and origins of the deployment. Without them there are none."""

    id: str
    origins: tuple[str, ...]


class FactorDesk:
    """Enrolment, loss, and use of second factors. Concurrency: any thread."""

    def __init__(self, identity: Identity, factors: SecondFactors, challenges: Challenges, relying_party: RelyingParty | None) -> None:
        self._identity = identity
        self._factors = factors
        self._challenges = challenges
        self._relying_party = relying_party

    @property
    def offers_passkeys(self) -> bool:
        return self._relying_party is not None

    def mine(self, session: Session) -> list[JsonObject]:
        """Return the second factors of the person who asks."""
        return [factor.as_record() for factor in self._factors.of(session.username)]

    def begin_totp(self, session: Session, password: str) -> JsonObject:
        """Return a new secret with its QR code and recovery codes, after the password.

        Raises LoginFailed, RemoteRefused, SessionLocked, PasswordChangeNeeded, as every change of an own second factor does.
        """
        self._again(session, password)
        enrolment = self._factors.begin_totp(session.username)
        picture, codes = qr_svg(enrolment.address), list(enrolment.recovery_codes)
        return {"secret": enrolment.secret, "address": enrolment.address, "qr_svg": picture, "recovery_codes": [*codes]}

    def confirm_totp(self, session: Session, code: str) -> JsonObject:
        """Enrol the secret that was begun. Raises AccessDenied for a code that is not its."""
        _refuse_elsewhere(session)
        return self._factors.confirm_totp(self._person(session.username), code).as_record()

    def begin_passkey(self, session: Session, password: str) -> JsonObject:
        """Return the options for `navigator.credentials.create`, after the password. Raises LoginFailed, RemoteRefused, InputInvalid."""
        party = self._party()
        person = self._again(session, password)
        known = [_decoded(str(factor.state["credential_id"])) for factor in self._factors.of(person.username) if factor.kind == PASSKEY]
        from api import passkeys

        return passkeys.registration_options(
            party.id,
            user=hashlib.sha256(f"{self._identity.store.origin}/{person.username}".encode()).digest(),
            username=person.username,
            name=person.name,
            challenge=_decoded(self._challenges.issue("passkey enrolment", person.username)),
            known=known,
        )

    def confirm_passkey(self, session: Session, label: str, credential: Mapping[str, JsonValue]) -> JsonObject:
        """Enrol the passkey that the browser made. Raises InputInvalid where the ceremony fails, AccessDenied where it is known."""
        _refuse_elsewhere(session)
        party, challenge = self._party(), _challenge_of(credential)
        if not self._challenges.take(challenge, "passkey enrolment", session.username):
            raise InputInvalid("This passkey answers no open question.", remedy="Begin the enrolment again.")
        from api import passkeys

        try:
            made = passkeys.registered(credential, challenge=_decoded(challenge), party=party.id, origins=party.origins)
        except passkeys.MALFORMED as error:
            raise InputInvalid(
                f"The passkey was not taken: {error}", remedy="Begin the enrolment again, at the site's own address."
            ) from error
        factor = self._factors.add_passkey(
            self._person(session.username),
            label=label,
            credential_id=_encoded(made.credential_id),
            public_key=_encoded(made.public_key),
            sign_count=made.sign_count,
        )
        return factor.as_record()

    def passkey_options(self, username: str) -> JsonObject:
        """Return the options for `navigator.credentials.get`; for a name without passkeys too, so that nobody can tell."""
        party = self._party()
        found = [str(factor.state["credential_id"]) for factor in self._factors.of(username) if factor.kind == PASSKEY and factor.active]
        if not found:
            found = [_encoded(self._decoy(username))]
        from api import passkeys

        challenge = _decoded(self._challenges.issue("passkey", username))
        return passkeys.authentication_options(party.id, challenge=challenge, known=[_decoded(credential) for credential in found])

    def revoke_own(self, session: Session, factor: str, password: str, reason: str) -> JsonObject:
        """Revoke an own second factor, after the password. Raises LoginFailed, AccessDenied."""
        person = self._again(session, password)
        if factor.partition("/")[0] != person.username:
            raise InputInvalid(f"{factor} is not yours.", remedy="An administrator revokes another person's.")
        return self._factors.revoke(factor, person.as_themselves, reason).as_record()

    def revoke(self, session: Session, username: str, factor: str, reason: str) -> JsonObject:
        """Revoke a person's second factor as an administrator: it was lost, or may be in other hands."""
        if factor.partition("/")[0] != username:
            raise InputInvalid(f"{factor} is not a second factor of {username}.", remedy="Look at the list of the person's factors.")
        return self._factors.revoke(factor, actor_of(session, Permission.MANAGE_PEOPLE), reason).as_record()

    def judge(self, given: GivenFactor) -> SecondFactor:
        """Return what judges the given second factor once the password was right."""
        return functools.partial(self._judge, given)

    def _judge(self, given: GivenFactor, person: Person) -> FactorVerdict:
        if given.passkey is not None:
            return self._judge_passkey(person, given.passkey)
        return self._factors.judge_code(person, given.code or "")

    def _judge_passkey(self, person: Person, credential: Mapping[str, JsonValue]) -> FactorVerdict:
        party, challenge = self._relying_party, _challenge_of(credential)
        if party is None or not self._challenges.take(challenge, "passkey", person.username):
            return FactorVerdict(False, "second factor: the passkey answers no open question")
        known = [factor for factor in self._factors.of(person.username) if factor.kind == PASSKEY and factor.active]
        factor = next((item for item in known if item.state.get("credential_id") == credential.get("id")), None)
        if factor is None:
            return FactorVerdict(False, "second factor: the passkey is not enrolled")
        from api import passkeys

        key = _decoded(str(factor.state["public_key"]))
        try:
            count = passkeys.authenticated(credential, key, challenge=_decoded(challenge), party=party.id, origins=party.origins)
        except passkeys.MALFORMED:
            return FactorVerdict(False, "second factor: the passkey's answer is not right")
        return self._factors.judge_count(person, factor, count)

    def _again(self, session: Session, password: str) -> Person:
        """Re-authenticate before a change of the person's own account."""
        _refuse_elsewhere(session)
        new: JsonObject = {}
        person, _ = self._identity.reauthenticate(
            session.username, password, purpose=EventKind.PERSON_SESSION_RESUMED, new=new, reason="change of an own second factor"
        )
        return person

    def _person(self, username: str) -> Person:
        person = self._identity.person(username)
        if person is None:
            raise LoginFailed(f"There is no account {username}.", remedy="Log in again.")
        return person

    def _party(self) -> RelyingParty:
        if self._relying_party is None:
            raise InputInvalid(
                "This site takes no passkeys.",
                remedy="Set passkey_rp_id and passkey_origins in workstation.toml, or use a one-time password.",
            )
        return self._relying_party

    def _decoy(self, username: str) -> bytes:
        return hmac.digest(self._factors.key(), f"no passkey of {username}".encode(), "sha256")


def _refuse_elsewhere(session: Session) -> None:
    """Second factors are changed at the site, in a session that the person's own password opened: one that somebody issued enrols nothing.

    Raises RemoteRefused, SessionLocked, PasswordChangeNeeded.
    """
    if session.remote:
        raise RemoteRefused(
            "Second factors are enrolled and changed at the site only.", remedy="Come to a workstation inside the perimeter."
        )
    session.require_open()


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _challenge_of(credential: Mapping[str, JsonValue]) -> str:
    """Return the challenge that a browser's answer names, or nothing where it cannot be read."""
    response = credential.get("response")
    data = response.get("clientDataJSON") if isinstance(response, dict) else None
    try:
        read = json.loads(_decoded(data)) if isinstance(data, str) else None
    except (ValueError, RecursionError):
        return ""
    challenge = read.get("challenge") if isinstance(read, dict) else None
    return challenge if isinstance(challenge, str) else ""

"""Whether keys and certificates are there, fit each other, and are read by their account alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from api.doctor.finding import Finding, failed, not_checked, passed, span_text, warning

_OTHERS = 0o077
_DAY_S = 86_400
_SOON_S = 30 * _DAY_S
_SAFE_PLACE = "Restore it from its safe place: docs/backup.md."


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """One private key file. `problem` is why it cannot be used although it is there; `absent_is_fine` says that until when."""

    what: str
    path: str
    exists: bool
    mode: int = 0
    owner: int = 0
    account: int = 0
    problem: str = ""
    remedy: str = ""
    absent_is_fine: str = ""


@dataclass(frozen=True, slots=True)
class SignerFacts:
    """The key that signs a trail, and the key that the trail names; `waiting` says that a replacement was begun and not ended."""

    name: str
    present: str
    trail: str
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """A key on a PKCS#11 token: what of it can be seen without logging in. `problem` is what cannot."""

    name: str
    token: str
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """One certificate: seconds since the epoch, whether the key beside it and its issuer fit; None where that was not asked."""

    what: str
    path: str
    problem: str = ""
    not_before_s: int = 0
    not_after_s: int = 0
    until: str = ""
    key_fits: bool | None = None
    issuer_fits: bool | None = None
    names: tuple[str, ...] = ()
    wanted_names: tuple[str, ...] = ()


def judge_key(facts: KeyFacts) -> Finding:
    check = "keys.file"
    if not facts.exists:
        if facts.absent_is_fine:
            return passed(check, f"{facts.path} is not there: {facts.absent_is_fine}", facts.what)
        return failed(check, f"{facts.path} is not there", _SAFE_PLACE, facts.what)
    if facts.mode & _OTHERS:
        text = f"{facts.path} has mode {facts.mode:04o}: others than its account can use it"
        return failed(check, text, f"Run `chmod 600 {facts.path}`; replace the key if somebody may have read it.", facts.what)
    if facts.problem:
        return failed(check, facts.problem, facts.remedy or _SAFE_PLACE, facts.what)
    if facts.owner != facts.account:
        text = f"{facts.path} belongs to user {facts.owner}, this is user {facts.account}"
        return warning(check, text, "Run the doctor as the account that runs the workstation.", facts.what)
    return passed(check, f"{facts.path}, mode {facts.mode:04o}", facts.what)


def judge_signer(facts: SignerFacts) -> Iterator[Finding]:
    check = "keys.signer"
    if facts.waiting:
        text = "a replacement of the key was begun and not ended; the next start settles it"
        yield warning("keys.replacement", text, "Start the process, then look at `dosewright key show`.", facts.name)
    if not facts.trail:
        yield not_checked(check, "the trail cannot be read", facts.name)
    elif not facts.present:
        yield not_checked(check, "the signing key cannot be read", facts.name)
    elif facts.present == facts.trail:
        yield passed(check, f"{facts.present} signs the trail", facts.name)
    elif not facts.waiting:
        text = f"the key here is {facts.present}, the trail names {facts.trail}"
        yield failed(check, text, "Find the trail's key (….retired-…, the safe place), or see `dosewright key rotate`.", facts.name)


def judge_token(facts: TokenFacts) -> Finding:
    if facts.problem:
        return failed("keys.token", facts.problem, facts.remedy or "Plug the token in, and look at [signing_token].", facts.name)
    return passed("keys.token", f"the token {facts.token} can be reached; its PIN was not tried", facts.name)


def judge_certificate(facts: CertificateFacts, now_s: int) -> Finding:
    check = "keys.certificate"
    if facts.problem:
        return failed(check, facts.problem, _SAFE_PLACE, facts.what)
    if facts.key_fits is False:
        return failed(check, f"the key beside {facts.path} is that of another certificate", _SAFE_PLACE, facts.what)
    if facts.issuer_fits is False:
        return failed(check, f"{facts.path} was not issued by the authority beside it", _SAFE_PLACE, facts.what)
    renew = "Have a new certificate made, put it in place, and start the process again."
    if now_s < facts.not_before_s:
        text = f"{facts.path} is valid only in {span_text(facts.not_before_s - now_s)}"
        return failed(check, text, "Look at the clock of this machine first.", facts.what)
    if now_s >= facts.not_after_s:
        return failed(check, f"{facts.path} ran out on {facts.until}", renew, facts.what)
    if missing := [name for name in facts.wanted_names if name not in facts.names]:
        text = f"{facts.path} does not name {', '.join(missing)}; it names {', '.join(facts.names) or 'nothing'}"
        return warning(check, text, "Have one made for the names in allowed_hosts, or take the names out there.", facts.what)
    left = facts.not_after_s - now_s
    if left < _SOON_S:
        return warning(check, f"{facts.path} runs out on {facts.until}, in {span_text(left)}", renew, facts.what)
    return passed(check, f"{facts.path}, valid until {facts.until}", facts.what)

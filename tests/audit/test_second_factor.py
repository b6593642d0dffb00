"""One-time passwords against RFC 6238, recovery codes, loss and revocation; reviews and what needs attention."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from audit.access_policy import AccessPolicy
from audit.access_review import AccessReviews, report_sha256
from audit.clock import UtcReading, utc_text
from audit.errors import AccessDenied, LoginFailed, RecordError, SignatureRefused
from audit.events import SYSTEM, Actor, Subject
from audit.identity import Identity, Role
from audit.second_factor import SecondFactors, code_at, load_factor_key, step_of
from audit.signatures import sign, sign_with_key
from audit.store import TrailStore
from audit.verify import verify_store
from tests.audit.conftest import ADMIN, CHEAP, KEY, ORIGIN, PASSWORD

RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()
# RFC 6238, appendix B, SHA-1: seconds since 1970, code of eight digits
RFC_6238 = (
    (59, "94287082"), (1111111109, "07081804"), (1111111111, "14050471"),
    (1234567890, "89005924"), (2000000000, "69279037"), (20000000000, "65353130"),
)  # fmt: skip
DIGEST = "ab" * 32


@dataclass
class StillClock:
    """A clock that moves only when it is told to."""

    moment: datetime = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    rate: Decimal = Decimal(1)

    def now(self) -> int:
        return int(self.moment.timestamp() * 1_000_000)

    def utc(self) -> UtcReading:
        return UtcReading(at=utc_text(self.moment), zone="Europe/Paris", sync="synchronised")

    def step(self) -> int:
        return int(self.moment.timestamp()) // 30


@dataclass
class Site:
    clock: StillClock
    identity: Identity
    factors: SecondFactors
    reviews: AccessReviews

    def log_in(self, code: str) -> None:
        self.identity.authenticate("pharm", PASSWORD, second=lambda person: self.factors.judge_code(person, code))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    clock = StillClock()
    store = TrailStore.create(tmp_path / "s.db", origin=ORIGIN, key=KEY, clock=clock, software="dosewright test", demonstration=True)
    with store:
        identity = Identity(store, clock, cost=CHEAP)
        identity.create_person("admin", "Admin Account", [Role.ADMINISTRATOR], PASSWORD, SYSTEM)
        identity.create_person("pharm", "Pharmacist Account", ["pharmacist"], PASSWORD, ADMIN)
        identity.create_person("quality", "Quality Account", ["quality_assurance"], PASSWORD, ADMIN)
        factors = SecondFactors(identity, tmp_path / "keys" / "second-factor.key", issuer="Dosewright test")
        yield Site(clock, identity, factors, AccessReviews(identity, factors))
        store.checkpoint()
        assert verify_store(store.path, [KEY.verifier]).findings == ()


def enrolled(site: Site) -> tuple[str, tuple[str, ...]]:
    begun = site.factors.begin_totp("pharm")
    person = site.identity.person("pharm")
    assert person is not None
    site.factors.confirm_totp(person, code_at(begun.secret, site.clock.step()))
    site.clock.moment += timedelta(seconds=90)
    return begun.secret, begun.recovery_codes


def kinds(site: Site) -> list[str]:
    return [entry.kind for entry in site.identity.store.entries()]


@pytest.mark.parametrize(("at", "code"), RFC_6238)
def test_codes_are_those_of_rfc_6238(at: int, code: str) -> None:
    assert code_at(RFC_SECRET, at // 30, digits=8) == code
    assert step_of(RFC_SECRET, code, at, digits=8) == at // 30
    assert step_of(RFC_SECRET, code, at + 30, digits=8) == at // 30  # a telephone that is a step behind
    assert step_of(RFC_SECRET, code, at + 60, digits=8) is None


def test_a_code_opens_once_and_its_secret_is_sealed(site: Site, tmp_path: Path) -> None:
    secret, _ = enrolled(site)
    code = code_at(secret, site.clock.step())
    site.log_in(code)
    assert kinds(site)[-2:] == ["person.session.opened", "person.factor.used"]
    with pytest.raises(LoginFailed):
        site.log_in(code)
    assert list(site.identity.store.entries())[-1].reason == "second factor: the code was used before"
    with pytest.raises(LoginFailed):
        site.log_in(code_at(secret, site.clock.step() - 1))  # an older step than one that was used
    assert (tmp_path / "keys" / "second-factor.key").stat().st_mode & 0o777 == 0o600
    assert secret.encode() not in b"".join(file.read_bytes() for file in tmp_path.glob("s.db*"))


def test_wrong_codes_count_towards_the_lock_out(site: Site) -> None:
    enrolled(site)
    for _ in range(5):
        with pytest.raises(LoginFailed):
            site.log_in("000000x")
    assert kinds(site)[-3:] == ["person.session.refused", "access.misuse.suspected", "person.account.locked"]


def test_a_recovery_code_opens_once(site: Site) -> None:
    _, codes = enrolled(site)
    assert len(set(codes)) == 10
    site.log_in(codes[3].upper())
    with pytest.raises(LoginFailed):
        site.log_in(codes[3])
    site.log_in(codes[4])
    assert site.factors.of("pharm")[0].as_record()["recovery_codes_left"] == 8


def test_enrolment_needs_a_code_of_the_new_secret_and_replaces_the_old(site: Site) -> None:
    secret, _ = enrolled(site)
    person = site.identity.person("pharm")
    assert person is not None
    site.factors.begin_totp("pharm")
    with pytest.raises(AccessDenied):
        site.factors.confirm_totp(person, code_at(secret, site.clock.step()))
    enrolled(site)
    assert [factor.active for factor in site.factors.of("pharm")] == [False, True]
    with pytest.raises(LoginFailed):
        site.log_in(code_at(secret, site.clock.step()))


def test_a_lost_factor_is_revoked_and_opens_nothing(site: Site) -> None:
    secret, codes = enrolled(site)
    with pytest.raises(AccessDenied, match="reason"):
        site.factors.revoke("pharm/totp-1", ADMIN, " ")
    site.factors.revoke("pharm/totp-1", ADMIN, "telephone lost")
    for code in (code_at(secret, site.clock.step()), codes[0]):
        with pytest.raises(LoginFailed):
            site.log_in(code)
    with pytest.raises(AccessDenied):
        site.factors.revoke("pharm/totp-1", ADMIN, "again")


def test_a_lost_key_file_is_named_and_not_made_anew(site: Site, tmp_path: Path) -> None:
    secret, _ = enrolled(site)
    (tmp_path / "keys" / "second-factor.key").unlink()
    with pytest.raises(RecordError, match="cannot be read"):
        site.log_in(code_at(secret, site.clock.step()))
    with pytest.raises(RecordError):
        load_factor_key(tmp_path / "keys" / "second-factor.key", create=False)
    assert not (tmp_path / "keys" / "second-factor.key").exists()


def test_roles_change_with_reason_and_nobody_changes_their_own(site: Site) -> None:
    change = site.identity.change_roles
    assert change("pharm", ["operator"], ADMIN, "new post").roles == (Role.OPERATOR,)
    entry = list(site.identity.store.entries())[-1]
    assert (entry.kind, entry.old["roles"], entry.new["roles"], entry.reason) == (
        "person.roles.changed", ["pharmacist"], ["operator"], "new post",
    )  # fmt: skip
    for roles in ([], ["administrator", "operator"], ["king"]):
        with pytest.raises(AccessDenied):
            change("pharm", roles, ADMIN, "x")
    with pytest.raises(AccessDenied, match="their own"):
        change("admin", ["qualified_person"], ADMIN, "x")
    with pytest.raises(AccessDenied, match="no GMP role"):
        site.identity.create_person("both", "Both Account", ["administrator", "qualified_person"], PASSWORD, ADMIN)
    with pytest.raises(AccessDenied, match="last administrator"):
        site.identity.deactivate("admin", ADMIN, "left")


def test_a_lent_role_ends_with_its_day(site: Site) -> None:
    lent = site.identity.lend_role("pharm", "qualified_person", "2026-11-22", ADMIN, "holiday")
    assert lent.has(Role.QUALIFIED_PERSON)
    site.clock.moment = datetime(2026, 11, 22, 22, 59, tzinfo=UTC)  # still the 22nd in Paris
    assert (person := site.identity.person("pharm")) is not None and person.has(Role.QUALIFIED_PERSON)
    site.clock.moment += timedelta(minutes=1)
    assert (person := site.identity.person("pharm")) is not None and person.roles == (Role.PHARMACIST,)
    for until in ("2026-11-22", "tomorrow", "2029-01-01"):
        with pytest.raises(AccessDenied):
            site.identity.lend_role("pharm", "operator", until, ADMIN, "holiday")
    with pytest.raises(AccessDenied):
        site.identity.lend_role("admin", "operator", "2026-12-01", ADMIN, "holiday")


def test_an_old_password_has_to_be_changed_and_is_not_taken_again(site: Site) -> None:
    site.identity.change_policy(AccessPolicy(maximum_age_days=90, history=2), ADMIN, "11.300(b)")
    site.clock.moment += timedelta(days=90)
    common = {"meaning": "confirmed", "digest": DIGEST, "role": Role.PHARMACIST, "subject": Subject("order", "O1")}
    with pytest.raises(SignatureRefused, match="older than the 90 days"):
        sign(site.identity, "pharm", PASSWORD, **common)
    words = [PASSWORD, "a second sentence of mine", "a third sentence of mine", "a fourth sentence of mine"]
    site.identity.change_password("pharm", words[0], words[1])
    sign(site.identity, "pharm", words[1], **common)
    site.identity.change_password("pharm", words[1], words[2])
    for earlier in words[:2]:
        with pytest.raises(AccessDenied, match="one of the last 2"):
            site.identity.change_password("pharm", words[2], earlier)
    site.identity.change_password("pharm", words[2], words[3])
    site.identity.change_password("pharm", words[3], words[0])  # three changes ago: out of the history of two


def test_the_policy_is_a_recorded_setting_with_a_floor(site: Site) -> None:
    weak = {"minimum_length": 11, "maximum_length": 63, "blocklist": False, "attempts": 11, "inactivity_minutes": 31,
            "session_minutes": 721, "sequence_minutes": 11, "inactive_days": 181, "review_days": 367}  # fmt: skip
    for name, value in weak.items():
        with pytest.raises(AccessDenied, match="below the floor"):
            site.identity.change_policy(AccessPolicy(**{name: value}), ADMIN, "easier")
    with pytest.raises(AccessDenied, match="reason"):
        site.identity.change_policy(AccessPolicy(attempts=3), ADMIN, "")
    site.identity.change_policy(AccessPolicy(attempts=3, words=("clinic",)), ADMIN, "risk review 7")
    entry = list(site.identity.store.entries())[-1]
    assert (entry.kind, entry.actor.username, entry.reason, entry.new["attempts"]) == ("access.policy.changed", "admin", "risk review 7", 3)
    assert Identity(site.identity.store, site.clock, cost=CHEAP).policy == AccessPolicy(attempts=3, words=("clinic",))


def test_a_review_is_signed_over_what_it_shows_and_falls_due(site: Site) -> None:
    quality = Actor("quality", "Quality Account", "quality_assurance")
    assert site.reviews.notices() == ()
    site.clock.moment += timedelta(days=181)
    assert ["access review was due" in notice.text for notice in site.reviews.notices()] == [True]
    with pytest.raises(LoginFailed):
        site.identity.authenticate("pharm", "wrong password here")
    report = site.reviews.report()
    rows = {str(row["username"]): row for row in report["accounts"]}  # type: ignore[index,union-attr]
    assert (rows["pharm"]["refused_since_review"], rows["pharm"]["not_seen_for_long"], rows["pharm"]["roles"]) == (1, True, ["pharmacist"])
    at = site.clock.utc().at
    signature = sign_with_key(
        KEY, signer="quality", name="Q", role="quality_assurance", meaning="reviewed", digest=report_sha256(report), at=at, zone="UTC"
    )
    site.reviews.sign(report, signature, quality)
    assert site.reviews.notices() == ()
    assert (row := site.reviews.report()["accounts"]) and [item["refused_since_review"] for item in row] == [0, 0, 0]  # type: ignore[union-attr,index,call-overload]


def test_suspected_misuse_stands_until_it_is_judged_once(site: Site) -> None:
    for name in ("pharm", "nobody"):
        for _ in range(5):
            with pytest.raises(LoginFailed):
                site.identity.authenticate(name, "wrong password here")
    first, second = site.reviews.notices()
    assert "pharm: 5 failed attempts" in first.text and "names that are no account" in second.text
    assert first.id is not None
    site.reviews.judge(first.id, ADMIN, "forgot the new password; identity checked")
    with pytest.raises(AccessDenied):
        site.reviews.judge(first.id, ADMIN, "again")
    assert site.reviews.notices() == (second,)


def test_two_suspicions_of_one_attempt_are_two_notices(site: Site) -> None:
    """The fifth failure is a passkey whose counter went back: the copy and the lock-out each have to be judged."""
    person = site.identity.person("pharm")
    assert person is not None
    passkey = site.factors.add_passkey(person, label="key", credential_id="c", public_key="k", sign_count=50)
    for _ in range(4):
        with pytest.raises(LoginFailed):
            site.identity.authenticate("pharm", "wrong password here")
    with pytest.raises(LoginFailed):
        site.identity.authenticate("pharm", PASSWORD, second=lambda held: site.factors.judge_count(held, passkey, 3))
    notices = site.reviews.notices()
    assert len({notice.id for notice in notices}) == 2
    assert any("there may be a copy" in notice.text for notice in notices)
    assert any("the account was locked" in notice.text for notice in notices)

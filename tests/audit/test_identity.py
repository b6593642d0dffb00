"""Accounts, log-in, lock-out and signatures."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import audit.sealed_keys
from audit.access_policy import AccessPolicy
from audit.canonical import canonical
from audit.checkpoint import SigningKey, VerifierKey
from audit.errors import AccessDenied, LoginFailed, RecordError, RoleMissing, SignatureRefused, VerificationError
from audit.events import SYSTEM, Subject
from audit.identity import Identity, Role
from audit.patients import PatientVault
from audit.places import Place
from audit.sealed_keys import KdfCost, open_key, seal_key
from audit.signatures import Signature, sign, sign_with_key, verify_signature
from audit.store import TrailStore
from audit.verify import verify_store
from tests.audit.conftest import ADMIN, CHEAP, CLOCK, KEY, OPERATOR, PASSWORD, new_store, open_store
from tests.audit.engines import Engine, everything

DIGEST = "ab" * 32
ORDER = Subject("order", "O1")
NEW = "another long password"


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Identity]:
    with new_store(tmp_path / "people.db") as store:
        identity = Identity(store, CLOCK, cost=CHEAP)
        identity.create_person("admin", "Admin Account", [Role.ADMINISTRATOR], PASSWORD, SYSTEM)
        identity.create_person("pharm", "Pharmacist Account", ["pharmacist", Role.QUALIFIED_PERSON], PASSWORD, ADMIN)
        yield identity
        store.checkpoint()
        assert verify_store(store.path, [KEY.verifier]).findings == ()


def kinds(identity: Identity, start: int = 0) -> list[str]:
    return [entry.kind for entry in identity.store.entries(start)]


def test_an_account_is_two_entries_and_holds_no_password(people: Identity) -> None:
    assert kinds(people, 3) == ["person.account.created", "person.credential.set"]
    person = people.person("pharm")
    assert person is not None
    assert (person.name, person.roles, person.locked, person.active) == (
        "Pharmacist Account",
        (Role.PHARMACIST, Role.QUALIFIED_PERSON),
        False,
        True,
    )
    assert [p.username for p in people.people()] == ["admin", "pharm"]
    files = b"".join(file.read_bytes() for file in people.store.path.parent.iterdir())
    assert PASSWORD.encode() not in files


def test_log_in_and_out_are_entries(people: Identity) -> None:
    assert people.authenticate("pharm", PASSWORD).username == "pharm"
    people.close_session("pharm")
    assert kinds(people, 5) == ["person.session.opened", "person.session.closed"]


def test_every_refused_log_in_says_the_same_and_is_an_entry(people: Identity) -> None:
    people.create_person("gone", "Somebody", ["administrator"], PASSWORD, ADMIN)
    people.deactivate("gone", ADMIN, "left the site")
    said = set()
    for name, password in (
        ("pharm", "wrong password here"),
        ("nobody", PASSWORD),
        ("Not A Name", PASSWORD),
        ("gone", PASSWORD),
        ("pharm", "\ud800"),
    ):
        with pytest.raises(LoginFailed) as refused:
            people.authenticate(name, password)
        said.add(str(refused.value))
    assert len(said) == 1
    assert kinds(people, 8) == ["person.session.refused"] * 5
    assert b"Not A Name" not in b"".join(people.store.lines())
    assert people.store.state("access", "unknown-account") == {"failures": 2}


def test_an_unknown_name_costs_one_derivation_like_a_wrong_password(people: Identity) -> None:
    with patch.object(audit.sealed_keys, "hash_secret_raw", wraps=audit.sealed_keys.hash_secret_raw) as derivation:
        for name in ("pharm", "nobody"):
            with pytest.raises(LoginFailed):
                people.authenticate(name, "wrong password here")
    costs = [call.args[2:] for call in derivation.call_args_list]
    assert len(costs) == 2
    assert costs[0] == costs[1]


def test_five_failures_lock_and_only_an_administrator_unlocks(people: Identity) -> None:
    for _ in range(5):
        with pytest.raises(LoginFailed):
            people.authenticate("pharm", "wrong password here")
    assert kinds(people)[-2:] == ["access.misuse.suspected", "person.account.locked"]
    reopened = Identity(people.store, CLOCK, cost=CHEAP)
    with pytest.raises(LoginFailed):
        reopened.authenticate("pharm", PASSWORD)
    pharm = people.person("pharm")
    assert pharm is not None
    with pytest.raises(RoleMissing):
        people.unlock("pharm", pharm.actor(Role.PHARMACIST), "let me in")
    with pytest.raises(RoleMissing):
        people.unlock("pharm", SYSTEM, "let me in")
    with pytest.raises(AccessDenied, match="reason"):
        people.unlock("pharm", ADMIN, " ")
    assert people.unlock("pharm", ADMIN, "identity checked").failures == 0
    assert people.authenticate("pharm", PASSWORD).locked is False


def test_success_sets_the_count_back(people: Identity) -> None:
    for _ in range(3):
        for _ in range(4):
            with pytest.raises(LoginFailed):
                people.authenticate("pharm", "wrong password here")
        assert people.authenticate("pharm", PASSWORD).failures == 0


def test_nothing_is_granted_where_the_attempt_cannot_be_recorded(people: Identity) -> None:
    people.store._writer.execute("PRAGMA query_only=ON")
    with pytest.raises(RecordError):
        people.authenticate("pharm", PASSWORD)
    people.store._writer.execute("PRAGMA query_only=OFF")


def test_who_may_make_accounts_and_which(people: Identity) -> None:
    make = people.create_person
    for by in (SYSTEM, OPERATOR):
        with pytest.raises(RoleMissing):
            make("new", "New Account", ["operator"], PASSWORD, by)
    for username in ("pharm", "system", "X", "a b", "1a", "a/b", "e\u0301a"):
        with pytest.raises(AccessDenied):
            make(username, "New Account", ["operator"], PASSWORD, ADMIN)
    with pytest.raises(AccessDenied, match="no role"):
        make("new", "New Account", ["king"], PASSWORD, ADMIN)
    for name, roles, password in (
        ("", ["operator"], PASSWORD),
        ("New", [], PASSWORD),
        ("New", ["operator"], "short"),
        ("N", ["operator"], "NEW" * 9),
    ):
        with pytest.raises(AccessDenied):
            make("new", name, roles, password, ADMIN)
    people.deactivate("pharm", ADMIN, "left")
    with pytest.raises(AccessDenied, match="never used again"):
        make("pharm", "Other Account", ["operator"], PASSWORD, ADMIN)
    with pytest.raises(AccessDenied, match="no person"):
        people.unlock("nobody", ADMIN, "reason")


def test_password_policy_is_configuration(people: Identity) -> None:
    short = Identity(people.store, CLOCK, cost=CHEAP, policy=AccessPolicy(minimum_length=4, attempts=2))
    short.create_person("new", "New Account", ["operator"], "brief", ADMIN)
    for _ in range(2):
        with pytest.raises(LoginFailed):
            short.authenticate("new", "five")
    assert (locked := short.person("new")) is not None
    assert locked.locked


def test_a_change_of_password_keeps_the_key_and_a_reset_does_not(people: Identity) -> None:
    before = people.person("pharm")
    changed = people.change_password("pharm", PASSWORD, NEW)
    assert before is not None
    assert changed.verifier_key == before.verifier_key
    with pytest.raises(LoginFailed):
        people.authenticate("pharm", PASSWORD)
    with pytest.raises(AccessDenied):
        people.change_password("pharm", NEW, NEW)
    reset = people.reset_password("pharm", PASSWORD, ADMIN, "forgotten")
    assert reset.verifier_key != before.verifier_key
    with pytest.raises(SignatureRefused, match="issued"):
        sign(people, "pharm", PASSWORD, meaning="confirmed", digest=DIGEST, role=Role.PHARMACIST, subject=ORDER)
    people.change_password("pharm", PASSWORD, NEW)
    verify_signature(sign(people, "pharm", NEW, meaning="confirmed", digest=DIGEST, role=Role.PHARMACIST, subject=ORDER))
    with pytest.raises(AccessDenied, match="no person"):
        people.reset_password("nobody", NEW, ADMIN, "forgotten")


def _meanwhile(act: Callable[[], object]) -> Any:
    """Have something happen once, between the password of a change being checked and the new one being recorded."""
    waiting = [act]

    def sealing(*arguments: Any) -> bytes:
        if waiting:
            waiting.pop()()
        return seal_key(*arguments)

    return patch("audit.identity.seal_key", sealing)


@pytest.mark.parametrize("act", ["reset", "close"])
def test_a_change_under_way_does_not_undo_what_an_administrator_did_meanwhile(people: Identity, act: str) -> None:
    def reset() -> None:
        people.reset_password("pharm", "issued by the administrator", ADMIN, "the account was taken over")

    def close() -> None:
        people.deactivate("pharm", ADMIN, "left")

    with _meanwhile(reset if act == "reset" else close), pytest.raises(AccessDenied, match="while it was being changed"):
        people.change_password("pharm", PASSWORD, NEW)
    for password in (PASSWORD, NEW):
        with pytest.raises(LoginFailed):
            people.authenticate("pharm", password)
    if act == "reset":
        assert people.authenticate("pharm", "issued by the administrator").password_issued


def test_of_two_changes_at_once_the_first_stands(people: Identity) -> None:
    with _meanwhile(lambda: people.change_password("pharm", PASSWORD, "the first of two passwords")), pytest.raises(AccessDenied):
        people.change_password("pharm", PASSWORD, NEW)
    assert people.authenticate("pharm", "the first of two passwords").username == "pharm"


def test_a_password_that_was_changed_during_its_check_opens_nothing(people: Identity) -> None:
    """The key is the same before and after a change: what counts is the password that opened it."""

    def opening(*arguments: Any) -> Any:
        found = open_key(*arguments)
        if waiting:
            waiting.pop()
            people.change_password("pharm", PASSWORD, NEW)
        return found

    waiting = [True]
    with patch("audit.identity.open_key", opening), pytest.raises(LoginFailed):
        people.authenticate("pharm", PASSWORD)


def test_a_signature_is_an_act_of_its_own(people: Identity) -> None:
    signature = sign(people, "pharm", PASSWORD, meaning="released", digest=DIGEST, role="qualified_person", subject=ORDER, scripted=True)
    verify_signature(signature)
    verify_signature(signature.as_record(), digest=DIGEST)
    entry = list(people.store.entries())[-1]
    assert (entry.kind, entry.actor.role) == ("person.signature.given", "qualified_person")
    assert (entry.new["signed_sha256"], entry.new["signed_subject"]) == (DIGEST, "order/O1")
    assert "Pharmacist Account (pharm), qualified_person: released" in signature.manifestation
    assert "scripted" in signature.manifestation
    # Ed25519 over the canonical bytes of every field but `value`, checked without the module under test.
    record = signature.as_record()
    value = base64.b64decode(str(record.pop("value")))
    assert VerifierKey.parse(signature.key).verifies(value, canonical(record))
    person = people.person("pharm")
    assert person is not None
    assert person.verifier_key == signature.key


def test_who_cannot_sign(people: Identity) -> None:
    common = {"meaning": "released", "digest": DIGEST, "subject": ORDER}
    with pytest.raises(SignatureRefused, match="administrator"):
        sign(people, "admin", PASSWORD, role=Role.ADMINISTRATOR, **common)
    with pytest.raises(RoleMissing):
        sign(people, "admin", PASSWORD, role=Role.QUALIFIED_PERSON, **common)
    with pytest.raises(LoginFailed):
        sign(people, "pharm", "wrong password here", role=Role.PHARMACIST, **common)
    with pytest.raises(LoginFailed):
        sign(people, "nobody", PASSWORD, role=Role.PHARMACIST, **common)
    with pytest.raises(SignatureRefused):
        sign(people, "pharm", PASSWORD, role=Role.PHARMACIST, meaning=" ", digest=DIGEST, subject=ORDER)
    with pytest.raises(SignatureRefused):
        sign(people, "pharm", PASSWORD, role=Role.PHARMACIST, meaning="released", digest="ab", subject=ORDER)
    assert (person := people.person("pharm")) is not None
    assert person.failures == 1


def a_signature() -> Signature:
    key = SigningKey.from_seed("site.example/ws/pharm", bytes(range(32)))
    return sign_with_key(
        key, signer="pharm", name="P", role="pharmacist", meaning="confirmed", digest=DIGEST, at="2026-11-20T15:19:51.123456Z", zone="UTC"
    )


@pytest.mark.parametrize("field", sorted(Signature.model_fields))
def test_no_field_of_a_signature_can_be_changed(field: str) -> None:
    record = a_signature().as_record()
    verify_signature(record)
    old = record[field]
    record[field] = (not old) if isinstance(old, bool) else str(old)[:-1] + ("1" if str(old)[-1] != "1" else "2")
    with pytest.raises(VerificationError):
        verify_signature(record)


def test_a_signature_cannot_be_moved_or_borrowed() -> None:
    signature = a_signature()
    with pytest.raises(VerificationError, match="something else"):
        verify_signature(signature, digest="cd" * 32)
    borrowed = sign_with_key(
        SigningKey.generate("site.example/ws/other"),
        **{name: value for name, value in signature.as_record().items() if name not in {"key", "value"}},
    )
    with pytest.raises(VerificationError, match="not a key of pharm"):
        verify_signature(borrowed)
    for record in (
        {},
        {**signature.as_record(), "extra": 1},
        {**signature.as_record(), "scripted": "no"},
        {**signature.as_record(), "value": "*" * 88},
    ):
        with pytest.raises(VerificationError):
            verify_signature(record)
    with pytest.raises(SignatureRefused):
        sign_with_key(KEY, signer="x", name="x", role="x", meaning="", digest=DIGEST, at="2026-11-20T15:19:51.123456Z", zone="UTC")


def test_the_spare_bits_of_a_signature_are_not_free() -> None:
    record = a_signature().as_record()
    value = str(record["value"])
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    record["value"] = value[:85] + alphabet[alphabet.index(value[85]) ^ 1] + "=="
    assert base64.b64decode(str(record["value"])) == base64.b64decode(value)
    with pytest.raises(VerificationError):
        verify_signature(record)


def test_the_default_cost_is_real() -> None:
    assert KdfCost() == KdfCost(passes=3, memory_kib=65536, lanes=4)  # RFC 9106 section 4, second recommended option
    start = time.perf_counter()
    audit.sealed_keys._derive("x", bytes(16), KdfCost())
    assert time.perf_counter() - start > 0.01


def test_patients_are_sealed_and_the_trail_holds_a_commitment(tmp_path: Path, engine: Engine, store: TrailStore) -> None:
    vault = PatientVault.create(tmp_path / "patients.key")
    entry = vault.record(store, "P-7", {"name": "Test Patient", "born": "2016-02-29"}, actor=OPERATOR, device="ws")
    assert set(entry.new) == {"identity_sha256"}
    assert PatientVault.load(tmp_path / "patients.key").read(store, "P-7") == {"name": "Test Patient", "born": "2016-02-29"}
    assert b"Test Patient" not in b"".join(file.read_bytes() for file in tmp_path.glob("trail.db*"))
    assert "Test Patient" not in str(everything(engine, str(store.database)))
    first = entry.new
    assert vault.record(store, "P-7", {"name": "Test Patient", "born": "2016-02-29"}, actor=OPERATOR, device="ws").new != first
    with pytest.raises(VerificationError, match="do not open"):
        PatientVault(bytes(32)).read(store, "P-7")
    store._writer.execute("UPDATE patients SET sealed = ?", (b"\0",))
    with pytest.raises(VerificationError, match="commits to"):
        vault.read(store, "P-7")
    with pytest.raises(RecordError):
        vault.read(store, "P-8")
    with pytest.raises(RecordError, match="cannot be made"):
        PatientVault.create(tmp_path / "patients.key")
    with pytest.raises(RecordError, match="cannot be read"):
        PatientVault.load(tmp_path / "no.key")
    with pytest.raises(RecordError, match="31 bytes"):
        PatientVault(bytes(31))


def test_accounts_survive_reopening(full: Place) -> None:
    with open_store(full) as store:
        assert Identity(store, CLOCK, cost=CHEAP).authenticate("operator", PASSWORD).roles == (Role.OPERATOR,)

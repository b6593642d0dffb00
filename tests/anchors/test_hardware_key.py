"""A trail's key in a PKCS#11 token: SoftHSM2, a new token for each test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from api import cli
from audit.checkpoint import VerifierKey, verify_note
from audit.cosignature import CosignerKey, cosign, cosignatures
from audit.errors import LoginFailed, RecordError
from audit.events import SYSTEM
from audit.identity import Identity, Role
from audit.reader import TrailReader
from audit.signer import PIN_VARIABLE, TokenEntry, load_signer, read_pin
from audit.store import TrailStore
from audit.verify import verify_store
from tests.audit.conftest import ADMIN, CHEAP, CLOCK, KEY, ORIGIN, PASSWORD, judged, new_store

pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 (extra hsm) is not installed")
MODULES = [
    Path(place)
    for place in ("/usr/lib/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so")
]
MODULE = next((path for path in MODULES if path.is_file()), None)
pytestmark = pytest.mark.skipif(MODULE is None, reason="SoftHSM2, the token of these tests, is not installed")
PIN, TOKEN, LABEL = "1234", "dosewright-test", "trail"
_EDWARDS25519 = bytes.fromhex("130c656477617264733235353139")  # PrintableString "edwards25519", PKCS #11 v3.0 §2.3.5


@dataclass
class Token:
    """A SoftHSM token in a folder of its own."""

    folder: Path

    @property
    def entry(self) -> TokenEntry:
        assert MODULE is not None
        return TokenEntry(module=MODULE, token=TOKEN, key=LABEL, name=ORIGIN, pin_file=self.pin_file)

    @property
    def pin_file(self) -> Path:
        return self.folder / "pin"

    def pull_out(self) -> None:
        (self.folder / "tokens").rename(self.folder / "pulled out")

    def put_in(self) -> None:
        (self.folder / "pulled out").rename(self.folder / "tokens")


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Token]:
    folder = tmp_path / "hsm"
    (folder / "tokens").mkdir(parents=True)
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", "4321"], check=True, capture_output=True
    )
    pin = folder / "pin"
    pin.write_text(PIN)
    pin.chmod(0o600)
    library = pkcs11.lib(str(MODULE))
    library.reinitialize()  # the library reads where its tokens are when it is initialised
    with library.get_token(token_label=TOKEN).open(rw=True, user_pin=PIN) as session:
        curve = session.create_domain_parameters(pkcs11.KeyType.EC_EDWARDS, {pkcs11.Attribute.EC_PARAMS: _EDWARDS25519}, local=True)
        curve.generate_keypair(mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN, store=True, label=LABEL)
    yield Token(folder)
    library.finalize()


def test_what_the_token_signs_verifies_everywhere(token: Token) -> None:
    key = load_signer(Path("none"), token.entry, token.folder)
    assert VerifierKey.parse(key.verifier.text) == key.verifier and key.name == ORIGIN
    assert key.verifier.verifies(key.sign(b"abc"), b"abc")
    text = "site.example/ws\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    assert cosignatures(f"{text}\n{cosign(key, text, 5)}", [CosignerKey.of(key.verifier)])[0].at == 5
    assert PIN not in repr(key)


def test_a_trail_is_made_written_and_verified_with_the_token(token: Token, tmp_path: Path) -> None:
    key = load_signer(Path("none"), token.entry, token.folder)
    path = tmp_path / "trail.db"
    with TrailStore.create(path, origin=ORIGIN, key=key, clock=CLOCK, software="t", demonstration=True) as store:
        store.append(*(judged(n) for n in range(300)))
        verify_note(store.checkpoint(), [key.verifier])
    assert verify_store(path, [key.verifier]).findings == ()


def test_a_trail_moves_from_a_key_file_into_the_token(token: Token, tmp_path: Path) -> None:
    key = load_signer(Path("none"), token.entry, token.folder)
    with new_store(tmp_path / "trail.db") as store:
        store.append(judged(1))
        store.rotate_key(key, actor=ADMIN, device="ws", reason="the key moves into hardware")
        store.append(judged(2))
    assert verify_store(tmp_path / "trail.db", [KEY.verifier]).findings == ()


def test_a_token_pulled_out_in_mid_run_stops_the_record_and_goes_on_when_it_is_back(token: Token, tmp_path: Path) -> None:
    key = load_signer(Path("none"), token.entry, token.folder)
    with TrailStore.create(tmp_path / "t.db", origin=ORIGIN, key=key, clock=CLOCK, software="t", demonstration=True) as store:
        store.append(judged(1))
        token.pull_out()
        size = store.size
        for _ in range(2):
            with pytest.raises(RecordError, match="cannot be used") as caught:
                store.checkpoint()
            assert "Put the token in" in caught.value.remedy
        with pytest.raises(RecordError, match="cannot be used"):
            store.append(*(judged(n) for n in range(300)))
        assert store.size == size, "what needs a signature and has none is not there at all"
        token.put_in()
        store.append(*(judged(n) for n in range(300)))
        verify_note(store.checkpoint(), [key.verifier])
    assert verify_store(tmp_path / "t.db", [key.verifier]).findings == ()


@pytest.fixture
def site(token: Token, tmp_path: Path) -> Path:
    """A site whose key is on the token, with a locked administrator."""
    folder, entry = tmp_path / "site", token.entry
    (folder / "cell-1" / "trusted").mkdir(parents=True)
    lines = [f'{name} = "{getattr(entry, name)}"' for name in ("module", "token", "key", "name", "pin_file")]
    (folder / "workstation.toml").write_text("\n".join(['site = "ward"', "[signing_token]", *lines, ""]))
    key = load_signer(Path("none"), entry, folder)
    with TrailStore.create(folder / "workstation.db", origin=ORIGIN, key=key, clock=CLOCK, software="t", demonstration=False) as store:
        people = Identity(store, CLOCK, cost=CHEAP)
        people.create_person("admin", "Admin Account", [Role.ADMINISTRATOR], PASSWORD, SYSTEM)
        people.create_person("operator", "Operator Account", [Role.OPERATOR], PASSWORD, ADMIN)
        for _ in range(people.policy.attempts):
            with pytest.raises(LoginFailed):
                people.authenticate("admin", "wrong password here")
    return folder


def test_a_site_with_its_key_on_a_token_is_backed_up_and_restored(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, configuration, backup = site / "workstation.db", str(site / "workstation.toml"), site / "b"
    assert cli.run(["backup", str(store), "--configuration", configuration, "--to", str(backup)]) == 0
    check = ["backup-check", str(backup), "--live", str(store), "--configuration", configuration, "--by", "Ada Min"]
    assert cli.run(check) == 0, capsys.readouterr()
    again = site / "again.db"
    put_back = ["restore", str(backup), "--to", str(again), "--by", "Ada Min", "--seen", str(store), "--accept-loss", "a test"]
    assert cli.run([*put_back, "--configuration", configuration]) == 0, capsys.readouterr()
    assert verify_store(again).findings == ()
    capsys.readouterr()
    for arguments, words in (
        (["--configuration", configuration, "--key", str(backup)], "Both --key and --configuration"),
        (["--configuration", str(site / "cell.toml")], "There is no"),
        ([], "Neither --key nor --configuration"),
    ):
        assert cli.run(["backup", str(store), "--to", str(site / "other"), *arguments]) == 2
        assert words in capsys.readouterr().err


def test_a_site_with_its_key_on_a_token_writes_its_trust_list_and_unlocks(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["site", "trust", str(site), "--cell", "cell-1"]) == 0, capsys.readouterr()
    assert '"operator"' in (site / "cell-1" / "trusted" / "people.json").read_text()
    assert cli.run(["site", "unlock-administrator", str(site), "admin", "--reason", "seen in person"]) == 0, capsys.readouterr()
    with TrailReader(site / "workstation.db") as reader:
        assert (reader.state("person", "admin") or {}).get("locked") is False


def test_a_session_that_was_lost_is_opened_anew_within_the_call(token: Token) -> None:
    key = load_signer(Path("none"), token.entry, token.folder)
    pkcs11.lib(str(MODULE)).reinitialize()  # ends every session of this process, as a restart of the module's service does
    assert key.verifier.verifies(key.sign(b"abc"), b"abc")


def test_a_wrong_pin_is_not_tried_again_until_it_is_changed(token: Token) -> None:
    token.pin_file.write_text("9999")
    with pytest.raises(RecordError, match="PIN of the token dosewright-test is wrong"):
        load_signer(Path("none"), token.entry, token.folder)
    token.pin_file.write_text(PIN)
    key = load_signer(Path("none"), token.entry, token.folder)
    token.pin_file.write_text("9999")
    pkcs11.lib(str(MODULE)).reinitialize()
    for _ in range(12):  # SoftHSM counts no failures; a card locks itself after three
        with pytest.raises(RecordError, match="is wrong"):
            key.sign(b"abc")
    token.pin_file.write_text(PIN)
    assert key.verifier.verifies(key.sign(b"abc"), b"abc")


def test_another_key_in_the_token_is_refused(token: Token) -> None:
    key = load_signer(Path("none"), token.entry, token.folder)
    with pkcs11.lib(str(MODULE)).get_token(token_label=TOKEN).open(rw=True) as session:
        for found in list(session.get_objects({pkcs11.Attribute.LABEL: LABEL})):
            found.destroy()
        curve = session.create_domain_parameters(pkcs11.KeyType.EC_EDWARDS, {pkcs11.Attribute.EC_PARAMS: _EDWARDS25519}, local=True)
        curve.generate_keypair(mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN, store=True, label=LABEL)
    with pytest.raises(RecordError, match="another one than before"):
        key.sign(b"abc")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"token": "elsewhere"}, "cannot be used"),
        ({"key": "elsewhere"}, "cannot be used"),
        ({"module": Path("/none.so")}, "no PKCS#11 module"),
    ],
)
def test_what_is_not_there_is_named(token: Token, change: dict[str, object], words: str) -> None:
    with pytest.raises(RecordError, match=words):
        load_signer(Path("none"), token.entry.model_copy(update=change), token.folder)


def test_the_pin_comes_from_the_environment_or_from_a_file_of_its_account_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PIN_VARIABLE, raising=False)
    with pytest.raises(RecordError, match="no PIN"):
        read_pin(None)
    monkeypatch.setenv(PIN_VARIABLE, "77")
    assert read_pin(None) == "77"
    pin = tmp_path / "pin"
    for prepare, words in _pin_files(pin):
        prepare()
        with pytest.raises(RecordError, match=words):
            read_pin(pin)
    pin.write_text(" 88\n")
    assert read_pin(pin) == "88"


def _pin_files(pin: Path) -> list[tuple[Callable[[], object], str]]:
    def open_to_all() -> None:
        pin.write_text("88")
        pin.chmod(0o644)

    def empty() -> None:
        pin.write_text("")
        pin.chmod(0o600)

    return [(lambda: None, "cannot be read"), (open_to_all, "Others than its account"), (empty, "is empty")]


def test_without_the_extra_a_configured_token_is_a_clear_error(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.modules['pkcs11'] = None\nfrom pathlib import Path\nfrom audit.errors import RecordError\n"
        "from audit.signer import TokenEntry, load_signer\n"
        "try:\n    load_signer(Path('k'), TokenEntry(module='/m.so', token='t', key='k', name='n'), Path('.'))\n"
        "except RecordError as error:\n    assert 'dosewright[hsm]' in error.remedy\n    sys.exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False, env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == 7

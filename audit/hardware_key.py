"""A signing key in a hardware module: PKCS#11, Ed25519 (CKM_EDDSA). The only place that imports `pkcs11` (extra `hsm`).

The private key never leaves the module: who owns the machine can have things signed while the token is in it, but cannot take the key
away. Where the token is away, nothing is signed; when it is back, the next call finds it. Source: PKCS #11 v3.0, §2.3.6.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Protocol, cast

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, PKCS11Error
from pkcs11.exceptions import PinIncorrect, PinLocked, UserAlreadyLoggedIn

from audit.checkpoint import VerifierKey
from audit.errors import RecordError

_OCTET_STRING_OF_32 = b"\x04\x20"
_PIN_REMEDY = "Correct it in its place. It is not tried again as it is: a token locks itself after a few wrong PINs."
_AWAY_REMEDY = "Put the token in and check that its module runs; the next attempt finds it. Until then nothing is recorded or signed."


class _Library(Protocol):
    def reinitialize(self) -> None: ...

    def get_token(self, *, token_label: str) -> pkcs11.Token: ...


class _PrivateKey(Protocol):
    def sign(self, data: bytes, *, mechanism: Mechanism) -> bytes: ...


class HardwareKey:
    """An Ed25519 key in a PKCS#11 token, under its verifier-key name.

    Lifetime: opens a session when it is made; a session that is lost is opened anew by the next call. Concurrency: any thread, one
    signature at a time under a lock.
    """

    def __init__(self, name: str, *, module: Path, token: str, key: str, pin: Callable[[], str]) -> None:
        """Find the key `key` on the token labelled `token`. `pin` is asked each time a session is opened.

        Raises RecordError: no module, no token, wrong PIN, no such key, or not an Ed25519 one.
        """
        self._name = name
        self._module, self._token, self._key, self._pin = module, token, key, pin
        self._lock = RLock()
        self._session: pkcs11.Session | None = None
        self._private: _PrivateKey | None = None
        self._wrong_pin: str | None = None
        self._verifier: VerifierKey | None = None
        with self._lock:
            self._open()

    @property
    def name(self) -> str:
        return self._name

    @property
    def verifier(self) -> VerifierKey:
        with self._lock:
            return self._verifier or self._open()

    def __repr__(self) -> str:
        return f"HardwareKey({self._name!r}, token={self._token!r})"

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over the data, checked against the public key. Raises RecordError."""
        with self._lock:
            try:
                signature = self._signed(data)
            except PKCS11Error:
                self._close()  # the session is lost, or the token was out and is in again: a new session will tell
                signature = self._signed_anew(data)
            if self._verifier is None or not self._verifier.verifies(signature, data):
                raise RecordError(f"The token {self._token} gave a signature that does not verify.", remedy="Replace the token.")
            return signature

    def _signed_anew(self, data: bytes) -> bytes:
        try:
            self._library().reinitialize()
            return self._signed(data)
        except PKCS11Error as error:
            self._close()
            raise self._away(error) from error

    def close(self) -> None:
        """Let the session go."""
        with self._lock:
            self._close()

    def _signed(self, data: bytes) -> bytes:
        if self._private is None:
            self._open()
        if self._private is None:
            raise RecordError(f"The token {self._token} holds no key {self._key}.", remedy=_AWAY_REMEDY)
        return bytes(self._private.sign(data, mechanism=Mechanism.EDDSA))

    def _open(self) -> VerifierKey:
        """Open a session, find the key, and hold its public half against the one known before."""
        pin = self._pin()
        if pin == self._wrong_pin:
            raise RecordError(f"The PIN of the token {self._token} is wrong.", remedy=_PIN_REMEDY)
        try:
            self._session = self._log_in(pin)
            private = self._session.get_key(object_class=ObjectClass.PRIVATE_KEY, key_type=KeyType.EC_EDWARDS, label=self._key)
            self._private = cast(_PrivateKey, private)  # a key of this class that may sign has the method; another fails when it is used
            public = self._session.get_key(object_class=ObjectClass.PUBLIC_KEY, key_type=KeyType.EC_EDWARDS, label=self._key)
            point = bytes(public[Attribute.EC_POINT])
        except (PinIncorrect, PinLocked) as error:
            self._close()
            self._wrong_pin = pin
            what = "locked" if isinstance(error, PinLocked) else "wrong"
            raise RecordError(f"The PIN of the token {self._token} is {what}.", remedy=_PIN_REMEDY) from error
        except PKCS11Error as error:
            self._close()
            raise self._away(error) from error
        self._wrong_pin = None
        found = VerifierKey(self._name, point.removeprefix(_OCTET_STRING_OF_32))
        if len(found.public) != 32 or (self._verifier is not None and found != self._verifier):
            self._close()
            raise RecordError(
                f"The key {self._key} on the token {self._token} is another one than before, or not Ed25519.",
                remedy="Use the token itself.",
            )
        self._verifier = found
        return found

    def _log_in(self, pin: str) -> pkcs11.Session:
        token = self._library().get_token(token_label=self._token)
        try:
            return token.open(user_pin=pin)
        except UserAlreadyLoggedIn:  # another key of this process is on the same token: the log-in is the process's
            return token.open()

    def _library(self) -> _Library:
        if not self._module.is_file():
            raise RecordError(f"There is no PKCS#11 module at {self._module}.", remedy="Install it, or correct its path.")
        try:
            return cast(_Library, pkcs11.lib(str(self._module)))
        except (PKCS11Error, OSError) as error:
            raise self._away(error) from error

    def _away(self, error: Exception) -> RecordError:
        words = str(error) or type(error).__name__
        return RecordError(f"The key {self._key} on the token {self._token} cannot be used ({words}).", remedy=_AWAY_REMEDY)

    def _close(self) -> None:
        session, self._session, self._private = self._session, None, None
        if session is not None:
            try:
                session.close()
            except PKCS11Error:
                return  # it was lost already; that is why it is closed

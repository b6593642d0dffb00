"""The ceremonies of passkeys, by the webauthn package: options for the browser, and the judgement of its answer.

Source: W3C Web Authentication Level 3, 7.1 (registration) and 7.2 (authentication).
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import webauthn
from pydantic import JsonValue
from webauthn.helpers import options_to_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from audit.canonical import JsonObject

MALFORMED = (WebAuthnException, binascii.Error, ValueError, TypeError, KeyError)
"""What an answer of a browser that is not right may raise."""


@dataclass(frozen=True, slots=True)
class Made:
    """A passkey that a browser has made."""

    credential_id: bytes
    public_key: bytes
    sign_count: int


def registration_options(party: str, *, user: bytes, username: str, name: str, challenge: bytes, known: Sequence[bytes]) -> JsonObject:
    """Return the options for `navigator.credentials.create`."""
    options = webauthn.generate_registration_options(
        rp_id=party,
        rp_name="Dosewright",
        user_id=user,
        user_name=username,
        user_display_name=name,
        challenge=challenge,
        exclude_credentials=[PublicKeyCredentialDescriptor(id=credential) for credential in known],
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED, user_verification=UserVerificationRequirement.PREFERRED
        ),
    )
    found: JsonObject = json.loads(options_to_json(options))
    return found


def registered(credential: Mapping[str, JsonValue], *, challenge: bytes, party: str, origins: Sequence[str]) -> Made:
    """Return the passkey of a browser's answer. Raises one of MALFORMED."""
    made = webauthn.verify_registration_response(
        credential=dict(credential), expected_challenge=challenge, expected_rp_id=party, expected_origin=list(origins)
    )
    return Made(made.credential_id, made.credential_public_key, made.sign_count)


def authentication_options(party: str, *, challenge: bytes, known: Sequence[bytes]) -> JsonObject:
    """Return the options for `navigator.credentials.get`."""
    credentials = [PublicKeyCredentialDescriptor(id=credential) for credential in known]
    options = webauthn.generate_authentication_options(rp_id=party, challenge=challenge, allow_credentials=credentials)
    found: JsonObject = json.loads(options_to_json(options))
    return found


def authenticated(credential: Mapping[str, JsonValue], public_key: bytes, *, challenge: bytes, party: str, origins: Sequence[str]) -> int:
    """Return the counter of a browser's answer that is right. Raises one of MALFORMED."""
    verified = webauthn.verify_authentication_response(
        credential=dict(credential),
        expected_challenge=challenge,
        expected_rp_id=party,
        expected_origin=list(origins),
        credential_public_key=public_key,
        credential_current_sign_count=0,  # the counter is judged by `SecondFactors.judge_count`, which reports what it finds
    )
    return verified.new_sign_count

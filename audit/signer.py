"""Where a trail's key is: in a file, or in a hardware module (PKCS#11). What the deployment says, and the signer made of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from audit.checkpoint import Signer, SigningKey
from audit.errors import RecordError

PIN_VARIABLE = "DOSEWRIGHT_TOKEN_PIN"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class TokenEntry(BaseModel):
    """A key on a PKCS#11 token: the module's library, the labels of token and key, the name of the verifier key (the trail's origin).

    The PIN is never here: it is in the environment, or in `pin_file`, which its account alone can read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    module: Path
    token: str = Field(min_length=1, max_length=32)
    key: str = Field(min_length=1)
    name: str = Field(pattern=r"^[^\s+]+$")
    pin_file: Path | None = None


def load_signer(key_file: Path, token: TokenEntry | None, folder: Path) -> Signer:
    """Return the signer of a deployment; paths of the token entry are relative to `folder`.

    Raises NoteInvalid for a key file, RecordError for a token, each with what to do.
    """
    if token is None:
        return SigningKey.load(key_file)
    try:
        from audit.hardware_key import HardwareKey  # only a site with a token needs its library
    except ImportError as error:
        raise RecordError(
            f"A key on a token is configured, but PKCS#11 support is not installed ({error}).", remedy="Install dosewright[hsm]."
        ) from error
    pin_file = None if token.pin_file is None else folder / token.pin_file
    return HardwareKey(token.name, module=folder / token.module, token=token.token, key=token.key, pin=lambda: read_pin(pin_file))


def read_pin(pin_file: Path | None) -> str:
    """Return the PIN, from the file where one is named, else from the environment. Raises RecordError."""
    if pin_file is None:
        found = os.environ.get(PIN_VARIABLE)
        if not found:
            raise RecordError("There is no PIN for the token.", remedy=f"Set {PIN_VARIABLE}, or name a pin_file.")
        return found
    try:
        mode = pin_file.stat().st_mode
        text = pin_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"The PIN file {pin_file} cannot be read.", remedy="Correct pin_file, or its owner.") from error
    if os.name != "nt" and mode & _OTHERS:
        raise RecordError(f"Others than its account can read {pin_file}.", remedy=f"Run `chmod 600 {pin_file}`, and change the PIN.")
    if not text:
        raise RecordError(f"The PIN file {pin_file} is empty.", remedy="Write the PIN into it.")
    return text

"""The file of the equipment register: read, and believed only with the signature of a quality assurance person of this cell."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from audit.errors import DosewrightError
from audit.signatures import Signature, verify_signature
from printer.equipment import MEANING_REGISTER, REGISTER_ROLE, EquipmentRegister, RegisterFound
from printer.errors import CellConfiguration
from recipes.figures import Document

_LARGEST = 1_000_000


class SignedRegister(Document):
    """The file: the register, and a signature over its digest."""

    contents: EquipmentRegister = Field(alias="register")
    signature: Signature

    def text(self) -> str:
        """Return the file's text."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"


def read_register_file(path: Path) -> str | None:
    """Return the text of the file, None where there is none. Raises CellConfiguration where it cannot be read."""
    try:
        if not path.exists():
            return None
        if path.stat().st_size > _LARGEST:
            raise CellConfiguration(f"{path}: an equipment register is not that large.", remedy="Put the signed register there.")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CellConfiguration(
            f"{path}: the equipment register cannot be read ({error}).", remedy="Put the signed register there."
        ) from error


def judge_register(text: str | None, *, cell: str, trusted: Mapping[str, Collection[str]]) -> RegisterFound:
    """Check form, cell, signature and signer of a register; the refusal says what is wrong and what to do."""
    again = "; have quality assurance sign the register of this cell anew"
    if text is None:
        return RegisterFound(None, "", "this cell has no equipment register; have quality assurance sign one")
    try:
        signed = SignedRegister.model_validate_json(text)
        register, signature = signed.contents, signed.signature
        verify_signature(signature, digest=register.digest)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "file"
        return RegisterFound(None, "", f"the equipment register does not fit its form ({place}: {first['msg']}){again}")
    except DosewrightError as error:
        return RegisterFound(None, "", f"the equipment register was changed after it was signed, or never signed: {error.message}{again}")
    if register.cell != cell:
        return RegisterFound(None, "", f"the equipment register is that of {register.cell}, not of {cell}{again}")
    roles = trusted.get(signature.key, ())
    if signature.meaning != MEANING_REGISTER or signature.role != REGISTER_ROLE or REGISTER_ROLE not in roles:
        who = f"{signature.signer} as {signature.role}, meaning {signature.meaning!r}"
        return RegisterFound(None, "", f"the equipment register is signed by {who}: not quality assurance of this cell{again}")
    evidence = f"version {register.version}, signed by {signature.name} on {signature.at[:10]}, digest {register.digest[:12]}"
    return RegisterFound(register, evidence, "")

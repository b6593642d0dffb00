"""Errors of the record, and the root of every error that Dosewright raises for a person to read.

DosewrightError                  says what, where, and what to do; carries a stable code
├── RecordError        AU-001    the record cannot be written or read
│   ├── StoreReadOnly  AU-002    the store refuses writes
│   ├── StoreMissing   AU-003    no store at the path given (none is made silently)
│   ├── StoreExists    AU-004    a store is there already
│   ├── HeadMoved      AU-005    another writer appended first
│   ├── EntryInvalid   AU-006    the entry does not fit its schema
│   └── StoreBusy      AU-007    another process writes this store
├── VerificationError  AU-010    a record is not what it claims to be
├── NoteInvalid        AU-011    a signed note or checkpoint cannot be read or its signature fails
├── AnchorError        AU-040    a checkpoint was not anchored outside
│   ├── AnchorAway     AU-041    the witness or time-stamping authority cannot be reached; tried again by itself
│   ├── AnchorRefused  AU-042    the witness or time-stamping authority refuses, or its answer cannot be believed
│   └── TrailDisputed  AU-043    the witness has seen another or a longer trail of this origin
├── AccessDenied       AU-020    the person may not do this
│   ├── LoginFailed    AU-021    name or password wrong, or the account is locked
│   └── RoleMissing    AU-022    the role does not allow the action
├── SignatureRefused   AU-023    a signature may not be given here
├── ReleaseBlocked     AU-030    a disposition is not open; the reasons are listed
├── LabelRefused       AU-031    a label cannot be made or read; the reasons are listed
├── PackRefused        AU-032    a pack is not in a state that allows the act
├── SealFailed         AU-050    a document could not be sealed by the site's key
├── BackupInvalid      AU-060    a backup is damaged, cut off, of another key, or its secret does not open it
├── BackupOutdated     AU-061    a backup is older than what is known of its trail, or of another history
├── RetentionRefused   AU-062    what is asked for must be kept longer, or takes another person
└── ModelRefused       AU-070    a process model, its data or its inputs are not what they have to be
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class DosewrightError(Exception):
    """An error with a stable code, a sentence on what is wrong and a sentence on what to do."""

    code: ClassVar[str] = "DW-000"
    reasons: tuple[str, ...] = ()
    """The single reasons of a refusal that has several."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class RecordError(DosewrightError):
    code = "AU-001"


class StoreReadOnly(RecordError):
    code = "AU-002"


class StoreMissing(RecordError):
    code = "AU-003"


class StoreExists(RecordError):
    code = "AU-004"


class HeadMoved(RecordError):
    code = "AU-005"


class EntryInvalid(RecordError):
    code = "AU-006"


class StoreBusy(RecordError):
    code = "AU-007"


class VerificationError(DosewrightError):
    code = "AU-010"


class NoteInvalid(DosewrightError):
    code = "AU-011"


class AnchorError(DosewrightError):
    code = "AU-040"


class AnchorAway(AnchorError):
    code = "AU-041"


class AnchorRefused(AnchorError):
    code = "AU-042"


class TrailDisputed(AnchorError):
    code = "AU-043"


class AccessDenied(DosewrightError):
    code = "AU-020"


class LoginFailed(AccessDenied):
    code = "AU-021"


class RoleMissing(AccessDenied):
    code = "AU-022"


class SignatureRefused(DosewrightError):
    code = "AU-023"


class BackupInvalid(DosewrightError):
    code = "AU-060"


class BackupOutdated(DosewrightError):
    code = "AU-061"


class RetentionRefused(DosewrightError):
    code = "AU-062"


class ReleaseBlocked(DosewrightError):
    code = "AU-030"

    def __init__(self, reasons: Sequence[str], *, remedy: str = "") -> None:
        super().__init__("The disposition is not open: " + "; ".join(reasons) + ".", remedy=remedy)
        self.reasons = tuple(reasons)


class ModelRefused(DosewrightError):
    code = "AU-070"


class LabelRefused(DosewrightError):
    code = "AU-031"

    def __init__(self, reasons: Sequence[str], *, remedy: str = "") -> None:
        super().__init__("The label: " + "; ".join(reasons) + ".", remedy=remedy)
        self.reasons = tuple(reasons)


class PackRefused(DosewrightError):
    code = "AU-032"


class SealFailed(DosewrightError):
    code = "AU-050"

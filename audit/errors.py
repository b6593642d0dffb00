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
├── AccessDenied       AU-020    the person may not do this
│   ├── LoginFailed    AU-021    name or password wrong, or the account is locked
│   └── RoleMissing    AU-022    the role does not allow the action
├── SignatureRefused   AU-023    a signature may not be given here
├── ReleaseBlocked     AU-030    a disposition is not open; the reasons are listed
├── BackupInvalid      AU-040    a backup is damaged, cut off, of another key, or its secret does not open it
├── BackupOutdated     AU-041    a backup is older than what is known of its trail, or of another history
└── RetentionRefused   AU-050    what is asked for must be kept longer, or takes another person
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class DosewrightError(Exception):
    """An error with a stable code, a sentence on what is wrong and a sentence on what to do."""

    code: ClassVar[str] = "DW-000"

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


class AccessDenied(DosewrightError):
    code = "AU-020"


class LoginFailed(AccessDenied):
    code = "AU-021"


class RoleMissing(AccessDenied):
    code = "AU-022"


class SignatureRefused(DosewrightError):
    code = "AU-023"


class BackupInvalid(DosewrightError):
    code = "AU-040"


class BackupOutdated(DosewrightError):
    code = "AU-041"


class RetentionRefused(DosewrightError):
    code = "AU-050"


class ReleaseBlocked(DosewrightError):
    code = "AU-030"

    def __init__(self, reasons: Sequence[str], *, remedy: str = "") -> None:
        super().__init__("The disposition is not open: " + "; ".join(reasons) + ".", remedy=remedy)
        self.reasons = tuple(reasons)

"""Errors of the workstation.

DosewrightError
└── WorkstationError        AP-001  a request that the workstation cannot carry out
    ├── SettingsInvalid     AP-002  the deployment file is wrong
    ├── SiteExists          AP-003  there is a site in the folder already
    ├── SiteIncomplete      AP-004  the folder is not a whole site
    ├── NotFound            AP-010  no such order, batch, recipe, cell
    ├── WrongState          AP-011  the object is not in a state that allows it
    ├── EntriesDiffer       AP-012  the second person's entry differs from the first
    ├── PrintedBefore       AP-013  the same prescription was printed already
    ├── InputInvalid        AP-014  a value cannot be read
    ├── ScanRefused         AP-015  what was scanned is not what belongs there
    ├── NotLoggedIn         AP-020  no session
    ├── CrossOrigin         AP-021  the request comes from another site's page
    ├── SessionLocked       AP-022  the session is locked after inactivity
    ├── PasswordChangeNeeded AP-023 the password has to be changed first
    ├── RemoteRefused       AP-024  from outside the perimeter this is not open in this way
    ├── ProcessFailed       AP-030  a process that the workstation started did not come up
    ├── FolderNotOurs       AP-031  a folder that no demonstration made
    ├── NoWorkstation       AP-032  no workstation answers at an address
    ├── CellNotStarted      AP-040  the cell has no address yet
    ├── CellTrailInvalid    AP-041  a cell's trail does not fit its checkpoint
    └── CellUnsuitable      AP-042  the cell cannot take the batch
"""

from __future__ import annotations

from collections.abc import Sequence

from audit.errors import DosewrightError


class WorkstationError(DosewrightError):
    code = "AP-001"


class SettingsInvalid(WorkstationError):
    code = "AP-002"

    def __init__(self, message: str, *, remedy: str = "", reasons: Sequence[str] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.reasons = tuple(reasons)


class SiteExists(WorkstationError):
    code = "AP-003"


class SiteIncomplete(WorkstationError):
    code = "AP-004"


class NotFound(WorkstationError):
    code = "AP-010"


class WrongState(WorkstationError):
    code = "AP-011"


class EntriesDiffer(WorkstationError):
    """Two people typed different things; `fields` names in which fields, and never what was typed."""

    code = "AP-012"

    def __init__(self, message: str, *, remedy: str = "", fields: tuple[str, ...] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.fields = fields


class PrintedBefore(WorkstationError):
    code = "AP-013"


class InputInvalid(WorkstationError):
    code = "AP-014"


class ScanRefused(WorkstationError):
    code = "AP-015"


class NotLoggedIn(WorkstationError):
    code = "AP-020"


class CrossOrigin(WorkstationError):
    code = "AP-021"


class SessionLocked(WorkstationError):
    code = "AP-022"


class PasswordChangeNeeded(WorkstationError):
    code = "AP-023"


class RemoteRefused(WorkstationError):
    code = "AP-024"


class ProcessFailed(WorkstationError):
    code = "AP-030"


class FolderNotOurs(WorkstationError):
    code = "AP-031"


class NoWorkstation(WorkstationError):
    code = "AP-032"


class CellNotStarted(WorkstationError):
    code = "AP-040"


class CellTrailInvalid(WorkstationError):
    code = "AP-041"


class CellUnsuitable(WorkstationError):
    code = "AP-042"

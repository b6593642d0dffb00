"""What a verification found: places and problems, and whether the signer is established."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class VerificationStatus(StrEnum):
    VERIFIED = "verified"
    SIGNER_NOT_ESTABLISHED = "internally consistent, signer not established"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem: where it is (file, line, table row, entry) and what is wrong there."""

    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a verification. `checked` lists what was looked at, in words a QP can read."""

    findings: tuple[Finding, ...]
    signer_established: bool
    checked: tuple[str, ...] = ()

    @property
    def status(self) -> VerificationStatus:
        if self.findings:
            return VerificationStatus.FAILED
        return VerificationStatus.VERIFIED if self.signer_established else VerificationStatus.SIGNER_NOT_ESTABLISHED

    @property
    def exit_status(self) -> int:
        """0 verified, 1 failed, 3 consistent but the signer is not established."""
        return {VerificationStatus.VERIFIED: 0, VerificationStatus.FAILED: 1, VerificationStatus.SIGNER_NOT_ESTABLISHED: 3}[self.status]

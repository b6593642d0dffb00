"""What kind of refusal each error code is, and what a person does then: shown before a sentence that is known in English only."""

from __future__ import annotations

from collections.abc import Mapping

from api.workstation.words import marked

_CALL = marked("Nothing was lost. Call whoever looks after the workstation, and name the code.")
_CORRECT = marked("Correct the entry and try again.")
_LOOK = marked("Look at its state now, then decide.")
_QUALITY = marked("Tell quality assurance; do not go on with it.")
_CONNECTION = marked("Check cable and power, then try again.")

UNKNOWN = marked("This was refused."), _CALL

KINDS: Mapping[str, tuple[str, str]] = {
    "DW-000": (marked("The workstation met an error that it did not foresee."), _CALL),
    "AP-001": (marked("The workstation cannot carry out the request."), _CALL),
    "AP-002": (marked("The settings of the workstation are wrong."), _CALL),
    "AP-003": (marked("There is a site in the folder already."), _CALL),
    "AP-004": (marked("The folder is not a whole site."), _CALL),
    "AP-010": (marked("It was not found."), marked("Check the number or the name, and choose it from the list.")),
    "AP-011": (marked("Its state does not allow this."), _LOOK),
    "AP-012": (marked("The two entries differ."), marked("Both compare with the original, then enter anew.")),
    "AP-013": (marked("This prescription was printed already."), marked("Ask the prescriber whether a further batch is wanted.")),
    "AP-014": (marked("An entry cannot be read."), _CORRECT),
    "AP-015": (marked("What was scanned does not belong there."), marked("Look at what was scanned, and scan the right one.")),
    "AP-020": (marked("Nobody is logged in."), marked("Log in again.")),
    "AP-021": (marked("The request came from another page."), marked("Use the workstation's own page.")),
    "AP-022": (marked("The session is locked."), marked("Give your password to go on.")),
    "AP-023": (marked("The password has to be changed first."), marked("Change it under My account.")),
    "AP-024": (marked("This is not open from outside the site."), marked("Do it at the site, or with a second factor.")),
    "AP-030": (marked("A part of the software did not start."), _CALL),
    "AP-031": (marked("The folder is not a demonstration's."), _CALL),
    "AP-032": (marked("No workstation answers at this address."), _CONNECTION),
    "AP-040": (marked("The cell has not been started."), marked("Start the cell, then try again.")),
    "AP-041": (marked("The cell's trail does not fit its checkpoint."), _QUALITY),
    "AP-042": (marked("The cell cannot take the batch."), marked("Put right what is named, or choose another cell.")),
    "AU-001": (marked("The record cannot be written or read."), _CALL),
    "AU-002": (marked("The record refuses to be written: nothing was done."), _CALL),
    "AU-003": (marked("The record is missing."), _CALL),
    "AU-004": (marked("There is a record already."), _CALL),
    "AU-005": (marked("Somebody else wrote at the same moment."), marked("Look again, then repeat it.")),
    "AU-006": (marked("The entry does not fit its form."), _CALL),
    "AU-007": (marked("Another process writes the record."), _CALL),
    "AU-010": (marked("A record is not what it claims to be."), _QUALITY),
    "AU-011": (marked("A signed statement cannot be read, or its signature fails."), _QUALITY),
    "AU-020": (marked("You may not do this."), marked("Ask a person whose role allows it.")),
    "AU-021": (
        marked("User name or password is wrong, or the account is locked."),
        marked("Try again, or ask an administrator to unlock it."),
    ),
    "AU-022": (marked("Your role does not allow this."), marked("Ask a person whose role allows it.")),
    "AU-023": (marked("The signature was refused."), marked("Check who signs and the password, then sign again.")),
    "AU-030": (marked("This disposition is not open."), marked("Settle the reasons named, then show the review again.")),
    "AU-031": (marked("The label was refused."), marked("Correct what is named, then try again.")),
    "AU-032": (marked("The pack's state does not allow this."), _LOOK),
    "AU-040": (marked("The checkpoint was not anchored outside."), _CALL),
    "AU-041": (marked("The witness or the time-stamping authority cannot be reached."), marked("It is tried again by itself.")),
    "AU-042": (marked("The witness or the time-stamping authority refuses."), _CALL),
    "AU-043": (marked("The witness has seen another trail."), _QUALITY),
    "AU-050": (marked("A document could not be sealed."), _CALL),
    "AU-060": (marked("The backup is damaged, or its secret does not open it."), _CALL),
    "AU-061": (marked("The backup is older than the record."), _CALL),
    "AU-062": (marked("This has to be kept longer, or takes another person."), _LOOK),
    "AU-070": (marked("The process model or its data were refused."), marked("Correct what is named, then try again.")),
    "FB-000": (marked("The connection to a device failed."), _CONNECTION),
    "FB-001": (marked("The software broke the protocol of a device."), _CALL),
    "FB-002": (marked("A device broke its protocol."), _CONNECTION),
    "FB-010": (marked("The connection to a device was lost."), _CONNECTION),
    "FB-011": (marked("A port is not there."), _CONNECTION),
    "FB-012": (marked("A port is in use by another program."), _CALL),
    "FB-013": (marked("A device takes no more commands."), _CONNECTION),
    "FB-014": (marked("It is not clear which port is meant."), _CALL),
    "FB-015": (marked("The address of a port is wrong."), _CALL),
    "FB-016": (marked("Another device answers than the one expected."), _CONNECTION),
    "FB-020": (marked("The recording of a line is damaged."), _QUALITY),
    "PR-001": (marked("The cell met an error."), _CALL),
    "PR-002": (marked("The cell refuses this."), marked("Put right what is named, then try again.")),
    "PR-003": (marked("The cell knows no such run."), _LOOK),
    "PR-101": (marked("The cell does not answer."), marked("What it does now is not known. Look at the printer itself.")),
    "PR-102": (marked("The cell was not understood."), _CALL),
    "PR-110": (marked("The bench's time was lost."), _CALL),
    "PR-120": (marked("The cell is set up wrongly."), _CALL),
    "PR-130": (marked("The run cannot be replayed."), _CALL),
    "RE-001": (marked("The recipe met an error."), _CALL),
    "RE-010": (marked("The recipe was refused."), marked("Correct what is named, then try again.")),
    "RE-011": (marked("There is no such recipe."), marked("Check the number or the name, and choose it from the list.")),
    "RE-020": (marked("The recipe's state does not allow this."), _LOOK),
    "RE-030": (marked("This was refused."), _CORRECT),
    "RE-031": (marked("The prescription was refused."), marked("Compare with the prescription; ask the prescriber where in doubt.")),
    "RE-032": (marked("The dose was refused."), marked("Compare with the prescription; ask the prescriber where in doubt.")),
    "RE-033": (marked("The ink was refused."), marked("Take another cartridge, or correct what is named.")),
    "RE-034": (marked("The unit cannot be made in this form."), marked("Choose another strength or another recipe.")),
    "RE-035": (marked("The program could not be made."), _CALL),
    "RE-036": (marked("The program was not proved; nothing is printed."), _CALL),
    "RE-038": (marked("The file of the solid was refused."), marked("Correct what is named, then try again.")),
}

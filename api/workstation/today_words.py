"""What the page of the day says: each act, stage and need as a whole sentence."""

from __future__ import annotations

from collections.abc import Sequence

from api.today import Act, Line, Stage
from api.today_needs import Matter, Need
from api.workstation.words import said, told

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def stage_text(stage: Stage) -> str:
    words = {
        Stage.SECOND_PERSON: said("Awaiting second person"),
        Stage.CONFIRMED: said("Confirmed"),
        Stage.PREPARED: said("Prepared"),
        Stage.PRINTING: said("Printing"),
        Stage.ENDED: said("Run ended"),
        Stage.REVIEW: said("Awaiting review"),
        Stage.EXCEPTIONS: said("Exceptions open"),
        Stage.PACKING: said("To be packed"),
        Stage.LABELLING: said("To be labelled"),
        Stage.DISPENSING: said("To be dispensed"),
        Stage.UNKNOWN: said("Not known"),
    }
    return words[stage]


def act_text(line: Line) -> str:
    """What is done next, as a sentence."""
    words = {
        Act.CONFIRM: said("Enter the figures again from the prescription, and sign."),
        Act.OPEN_BATCH: said("Prepare a batch on a cell that is clear."),
        Act.REQUEST_RUN: said("Prepare the run: the cell checks, compiles and goes through its gates."),
        Act.START: said("Start the run when the cell is clear."),
        Act.WAIT: said("{count} of {of} units judged{left}.", count=line.count, of=line.of, left=_left(line.left_s)),
        Act.RESUME: said("Paused: {count} of {of} units judged. Find out why, then resume.", count=line.count, of=line.of),
        Act.WEIGH: said("Weigh unit {count} on the external balance{left}.", count=line.count, left=_left(line.left_s)),
        Act.WEIGH_AGAIN: said("Weigh unit {count} again as the second person{left}.", count=line.count, left=_left(line.left_s)),
        Act.LOOK: said("Not known yet: look at the cell."),
        Act.CLOSE_RUN: said("Close the run, so that its record can be reviewed."),
        Act.REMOVE: said(
            "Take {count} off the plate and confirm it; somebody who did not run the batch does it.", count=_units(line.count)
        ),
        Act.RESOLVE: said("Assign a cause to {count}.", count=_exceptions(line.count)),
        Act.SIGN: said("Review the record and sign the disposition."),
        Act.PACK: said("Pack {count}.", count=_units(line.count)),
        Act.LABEL: said("Print and scan the label of {count}.", count=_packs(line.count)),
        Act.CLOSE_PACKING: said("Account for the labels and close the packing."),
        Act.DISPENSE: said("Scan and dispense {count}.", count=_packs(line.count)),
    }
    return words[line.act]


def who_text(who: Sequence[str]) -> str:
    """The roles that may do it, in words."""
    return ", ".join(told(role.replace("_", " ")) for role in who)


def age_text(seconds: int) -> str:
    """How long something has waited, in steps that a person plans by: it changes once a minute at most."""
    if seconds < _MINUTE:
        return said("just now")
    if seconds < _HOUR:
        return said("{minutes} min", minutes=seconds // _MINUTE)
    if seconds < _DAY:
        return said("{hours} h {minutes} min", hours=seconds // _HOUR, minutes=f"{seconds % _HOUR // _MINUTE:02d}")
    days = seconds // _DAY
    return said("1 day") if days == 1 else said("{days} days", days=days)


def need_text(need: Need) -> str:
    """One thing that needs this person."""
    where, detail, day = need.subject, _detail(need.detail), need.day
    words = {
        Matter.ALARM: said("{cell}: {count}.", cell=where, count=_alarms(need.count)),
        Matter.SILENT: said("{cell} does not answer. What it does now is not known.", cell=where),
        Matter.CARE: said("{cell}, before the next print: {gate}", cell=where, gate=detail),
        Matter.REGISTER: said("{cell} prints nothing: {gate}", cell=where, gate=detail),
        Matter.REGISTER_ENDS: said("{cell}: {device} is in date until {day}.", cell=where, device=detail, day=day),
        Matter.PASSWORD: said("Your password has to be changed: {why}.", why=detail),
        Matter.PASSWORD_ENDS: said("Your password ends on {day}.", day=day),
        Matter.ACCESS: detail,
        Matter.RECIPE: said("Recipe {version} is {status}. Open to you: {steps}.", version=where, status=detail, steps=_listed(need.steps)),
        Matter.MODEL: said(
            "Process model {version} is {status}. Open to you: {steps}.", version=where, status=detail, steps=_listed(need.steps)
        ),
        Matter.RECALL: said("Recall {recall} is open: follow its packs and patients.", recall=where),
        Matter.TRAINING: said("Your training for {what} ended on {day}.", what=where, day=day),
        Matter.TRAINING_ENDS: said("Your training for {what} ends on {day}.", what=where, day=day),
    }
    return words[need.matter]


def _detail(text: str) -> str:
    """Words of the record or of a cell; of a gate with its reason each by itself."""
    gate, colon, reason = text.partition(": ")
    return f"{told(gate)}: {told(reason)}" if colon and told(text) == text else told(text)


def _left(seconds: int | None) -> str:
    """About how long it takes still; nothing where that is not known."""
    if not seconds:
        return ""
    minutes = max(1, round(seconds / _MINUTE))
    if minutes < _MINUTE:
        return said(", about {minutes} min left", minutes=minutes)
    return said(", about {hours} h {minutes} min left", hours=minutes // _MINUTE, minutes=f"{minutes % _MINUTE:02d}")


def _units(count: int) -> str:
    return said("1 unit") if count == 1 else said("{count} units", count=count)


def _packs(count: int) -> str:
    return said("1 pack") if count == 1 else said("{count} packs", count=count)


def _exceptions(count: int) -> str:
    return said("1 open exception") if count == 1 else said("{count} open exceptions", count=count)


def _alarms(count: int) -> str:
    return said("1 alarm waits for you") if count == 1 else said("{count} alarms wait for you", count=count)


def _listed(steps: Sequence[str]) -> str:
    return ", ".join(told(step) for step in steps)

"""The gates of a prepared run, judged anew when a person starts or resumes it.

Days may pass between preflight and start, or in a pause; a register may be replaced, a recipe withdrawn or past its review meanwhile.
Who gives the command is judged beside this (`people_gates`). Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from audit.errors import DosewrightError
from printer.admission import Admission, Admitted, external_balance, static_gates
from printer.equipment import EquipmentRegister, Standing
from printer.messages import Operation
from printer.readiness import unmet
from printer.recipe_lock import printable_recipe
from printer.register_file import judge_register

REMEDIES = {
    Operation.START: "Nothing was printed. Stop the run, put right what is named, and have it prepared again.",
    Operation.RESUME: "Put right what is named, then resume; or stop the run.",
}
_OF_THE_ASKER = frozenset({"operator", "training"})
"""They were judged of whoever asked for the run, who need not be the one who sets it going."""
_OF_THE_START = frozenset({"daily balance check", "cleaning", "ink lot and cartridge"})
"""What a run began with of these counts until its end; the life of its ink is watched while it prints."""


def going_reasons(admitted: Admitted, operation: Operation, standing: Standing, trusted: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return why a run may not be started, or resumed, as the cell stands now. Empty where it may."""
    lived = {key: tuple(sorted(roles)) for key, roles in trusted.items()}
    now = admitted.admission.model_copy(update={"standing": standing, "today": standing.today, "trusted_people": lived})
    found = judge_register(standing.register_file, cell=now.device, trusted=trusted)
    gates = static_gates(now, admitted.recipe, admitted.program, found, admitted.plan.purges + admitted.plan.units)
    settled = _OF_THE_ASKER if operation is Operation.START else _OF_THE_ASKER | _OF_THE_START
    replaced = () if found.register is None else _replaced(admitted, operation, found.register)
    return (*_recipe_reasons(now), *replaced, *unmet(tuple(gate for gate in gates if gate.name not in settled)))


def _recipe_reasons(now: Admission) -> tuple[str, ...]:
    try:
        printable_recipe(now.job.recipe_bundle, now.trusted_people, now.standing, now.device)
    except DosewrightError as refused:
        return refused.reasons or (refused.message,)
    return ()


def _replaced(admitted: Admitted, operation: Operation, register: EquipmentRegister) -> tuple[str, ...]:
    """A run is started by the register that its record names; it is resumed by one that still names the balances that weigh its units."""
    plan = admitted.plan
    if operation is Operation.START:
        same = register.digest == plan.created["equipment_digest"]
    else:
        external = external_balance(admitted.recipe, admitted.program, admitted.admission.machine, register)
        same = (register.balance.serial, external) == (plan.balance_serial, plan.external)
    known = f"the run was prepared by {plan.created['equipment']}, the cell's register is {register.reference} now"
    return () if same else (f"equipment register: {known}",)

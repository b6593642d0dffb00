"""The commands of `dosewright`, in the order of its help: where each is, and its line of help."""

from __future__ import annotations

from api.lazy_group import LazyGroup, Listed

_TABLE = (
    Listed("demo", "api.cli_demo:demo", "Print a made-up prescription on the virtual bench and prove it."),
    Listed("plan", "api.cli_plan:plan", "Calculate a dose, compile its program, prove it, and write it to a file. Nothing is printed."),
    Listed(
        "serve",
        "api.cli_serve:serve",
        "Serve a demonstration site: workstation, and for each cell its process and its virtual bench. Ctrl-C ends them all.",
    ),
    Listed("verify", "api.cli_verify:verify", "Check packages, stores and sealed records offline."),
    Listed(
        "create-store",
        "api.cli_store:create_store",
        "Make a new store with its first entry and checkpoint; nothing that exists is touched.",
    ),
    Listed("package", "api.cli_package:package", "Write the review package of a batch. The export is an entry of the trail."),
    Listed(
        "backup",
        "api.cli_backup:backup",
        "Write a signed, verified backup of a store while its process works. Private keys are not in it; --keys seals them apart.",
    ),
    Listed(
        "restore",
        "api.cli_backup:restore_store",
        "Put a store back from a backup. Refused where it is known that entries would be lost, until a person says why that is accepted.",
    ),
    Listed(
        "backup-check",
        "api.cli_backup:backup_check",
        "Restore a backup where nobody works, compare it with the live store, and remove it again: the restore test.",
    ),
    Listed(
        "retention",
        "api.cli_retention:retention",
        "List until when the documents of each batch are kept, what holds them, and which are due. Nothing is deleted.",
    ),
    Listed(
        "archive",
        "api.cli_retention:archive",
        "Add packages to a readable archive, or, with none to add, read every package in it again. Exit status 1: one cannot be read.",
    ),
    Listed("replay", "api.cli_replay:replay", "Repeat every decision of a batch's runs from what is in its package."),
    Listed("alarms", "api.cli_alarms:alarms", "Show rate, floods, chatter, stale alarms and times to acknowledge; nothing is written."),
    Listed("trail", "api.cli_trail:trail", "Search a trail by person, object, time, kind, role, device and words; newest first."),
    Listed("trends", "api.cli_trends:trends", "Show charts, signals and capability of each strength across batches; nothing is written."),
    Listed(
        "solid", "api.cli_solid:solid", "Check an STL file and print the table that a recipe states of it. Nothing is stored or printed."
    ),
    Listed(
        "devices",
        "api.cli_devices:devices",
        "Say which serial devices are connected and how to name each in a cell's configuration. No port is opened unless --ask is given.",
    ),
    Listed(
        "doctor", "api.cli_doctor:doctor", "Check software, site, rights, disk, clock, record, keys, ports and page, and say what to do."
    ),
    Listed(
        "label",
        "api.cli_label:label",
        "Print the labels of a released batch: units in no pack are packed first, strengths kept apart; every print is on record.",
    ),
    Listed(
        "weigh",
        "api.cli_weigh:weigh",
        "Enter the weight of the unit that waits: as its operator, then again, blind and signed, as a second person.",
    ),
    Listed("check", "api.cli_check:app", "Checks and care before the first print of a day."),
    Listed("ink", "api.cli_inks:ink", "Ink lots: with a certificate, or prepared on site."),
    Listed("cartridge", "api.cli_inks:cartridge", "Cartridges: filled, weighed, used."),
    Listed("batch", "api.cli_batch:app", "Batches: cancel one whose run was never asked for."),
    Listed("recipe", "api.cli_recipe:app", "Recipes: versions, differences, life cycle, signed bundles."),
    Listed("fhir", "api.cli_fhir:app", "FHIR: a prescription in, a batch analysis or a dispense out."),
    Listed("anchor", "api.cli_anchor:app", "Checkpoints at a witness and a time-stamping authority."),
    Listed("key", "api.cli_key:app", "The keys that sign the trails."),
    Listed("witness", "api.cli_witness:app", "The witness of a control site (C2SP tlog-witness)."),
    Listed("model", "api.cli_model:app", "Process models: fit, test, sign, watch."),
    Listed("recall", "api.cli_recall:app", "Recalls: search, open, follow, close."),
    Listed("site", "api.cli_site:app", "Set up a site for patients and serve it."),
)


class Commands(LazyGroup):
    """Every command of the program."""

    table = _TABLE

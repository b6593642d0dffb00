"""What a view says is open to a person is what the act itself lets that person do, through a whole day, for every role.

Each act is asked for over HTTP, up to the moment at which it would take effect: a signature, an entry, a command to the cell. There it is
stopped, so that the same state can be asked by everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from released import PRODUCTION, RUN, code_of, release, sign_record, unit
from test_models import NAME, data_set, tree
from test_models import draft as draft_model
from test_models import step as model_step
from test_models import tried as model_tried
from test_packs import JANE, pack_all, print_label
from test_recalls import open_recall
from test_recipes import CASE, draft, effective, step, version

from api.allowed import against, allowed_actions, reasons_of, refuse
from api.app import openapi_document
from api.errors import WrongState
from audit.errors import DosewrightError, RoleMissing
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from printer.errors import CellRefused

EVERYBODY = ("administrator", "engineer", "quality", "pharmacist", "second", "operator", "qp")
WHY = {"reason": "as the test asks"}


class Reached(DosewrightError):
    """The act would have taken effect now: nothing stood against it."""

    code = "XX-001"


@pytest.fixture(autouse=True)
def _logged_in(bench: Any) -> None:
    """Everybody is logged in, without the time that a password takes."""
    people = {person.username: person for person in bench.workstation.people._identity.people()}
    for who in EVERYBODY:
        bench._tokens[who] = bench.workstation.sessions.open(who, people[who].name, people[who].roles)


def signed(bench: Any, who: str) -> dict[str, Any]:
    return {"signature": bench.signature(who)}


def another(bench: Any, who: str) -> dict[str, Any]:
    """The approval of a second person."""
    name = "pharmacist" if who == "second" else "second"
    return {**bench.signature(name), "username": name}


ORDER_ACTS: dict[str, Callable[[Any, str], tuple[str, Any]]] = {
    "confirm": lambda bench, who: ("confirm", {"entry": PRODUCTION.AGAIN, **signed(bench, who)}),
}
BATCH_ACTS: dict[str, Callable[[Any, str], tuple[str, Any]]] = {
    "run": lambda bench, who: ("run", None),
    "cancel": lambda bench, who: ("cancel", WHY),
    "start": lambda bench, who: ("start", None),
    "pause": lambda bench, who: ("pause", WHY),
    "resume": lambda bench, who: ("resume", WHY),
    "close": lambda bench, who: ("close", None),
    "package": lambda bench, who: ("package", None),
    "packs": lambda bench, who: ("packs", {}),
    "packing/close": lambda bench, who: ("packing/close", None),
    "holds": lambda bench, who: ("holds/recall", WHY),
    "cartridge-returns": lambda bench, who: (
        "cartridge-returns",
        {"serial": "CYC-DEMO-01-A", "gross_mg": "9000", "uncertainty_mg": "1", "balance": "BAL-7", "empty_mg": "5000"},
    ),
}
RECIPE_ACTS: dict[str, Callable[[Any, str], tuple[str, Any]]] = {
    "submit": lambda bench, who: ("submit", signed(bench, who)),
    "return": lambda bench, who: ("return", {**signed(bench, who), **WHY}),
    "approve": lambda bench, who: ("approve", signed(bench, who)),
    "effective": lambda bench, who: ("effective", {**signed(bench, who), **WHY}),
    "retire": lambda bench, who: ("retire", {**signed(bench, who), **WHY}),
    "development": lambda bench, who: ("development", signed(bench, who)),
    "export": lambda bench, who: ("export", None),
}
MODEL_ACTS: dict[str, Callable[[Any, str], tuple[str, Any]]] = {
    **{name: act for name, act in RECIPE_ACTS.items() if name in ("submit", "return", "approve", "effective", "retire")},
    "test": lambda bench, who: ("test", {"data": tree(data_set("nir-strength-test").as_record())}),
    "suspend": lambda bench, who: ("suspend", WHY),
    "reinstate": lambda bench, who: ("reinstate", {**signed(bench, who), **WHY}),
    "checks": lambda bench, who: ("checks", _check()),
}
PACK_ACTS: dict[str, Callable[[Any, str], tuple[str, Any]]] = {
    "label": lambda bench, who: ("label", {"form": "zpl", **WHY, "approval": another(bench, who)}),
    "scan": lambda bench, who: ("scan", {"scanned": "no code of a pack"}),
    "dispense": lambda bench, who: ("dispense", {"scanned": "no code of a pack", "to": "ward"}),
    "return": lambda bench, who: ("return", WHY),
    "destroy": lambda bench, who: ("destroy", WHY),
    "not-recovered": lambda bench, who: ("not-recovered", WHY),
}
RECALL_ACTS: dict[str, Callable[[Any, str], tuple[str, Any]]] = {
    "close": lambda bench, who: ("close", {**signed(bench, who), **WHY}),
}
PERSON_ACTS: dict[str, Callable[[Any, str], tuple[str, Any]]] = {
    "unlock": lambda bench, who: ("unlock", WHY),
    "deactivate": lambda bench, who: ("deactivate", WHY),
    "password": lambda bench, who: ("password", WHY),
    "roles": lambda bench, who: ("roles", {"roles": ["administrator"], **WHY}),
    "deputy": lambda bench, who: ("deputy", {"role": "operator", "until": bench.workstation.people._identity.today().isoformat(), **WHY}),
}
INK_ACTS: dict[str, Callable[[Any, str], tuple[str, Any]]] = {
    "weight": lambda bench, who: ("weight", {"gross_mg": "9000", "uncertainty_mg": "1", "balance": "BAL-7"}),
}
UNIT_ACTS: dict[str, Callable[[Any, str], tuple[str, Any]]] = {
    "removal": lambda bench, who: ("removal", bench.signature(who)),
    "weight": lambda bench, who: ("weight", {"value_mg": "467.1", "balance_serial": "EXT-1"}),
    "weight/second": lambda bench, who: (
        "weight/second",
        {"weight": {"value_mg": "467.1", "balance_serial": "EXT-1"}, **signed(bench, who)},
    ),
}


def _check() -> dict[str, Any]:
    sample = data_set("nir-strength-test").samples[0]
    inputs = tree(sample.named_inputs)
    return {"sample": sample.sample, "inputs": inputs, "reference": str(sample.reference), "method": "HPLC", "report": "R-0"}


@contextmanager
def stopped_at_its_effect(bench: Any) -> Iterator[None]:
    """Let no act take effect; the cell refuses what its status says that it refuses."""

    def reached(*_: object, **__: object) -> None:
        raise Reached("It would be done now.")

    def append(store: object, *drafts: EntryDraft) -> None:
        if not all(
            draft.kind.endswith(".request.refused") for draft in drafts
        ):  # that something was refused goes on record, and is no effect
            reached()

    def by_the_cell(act: str) -> Callable[..., None]:
        def ask(run: str, actor: dict[str, str], *_: object) -> None:
            if reasons := bench.cell.allowed(actor)["run_actions"][act]:
                raise CellRefused(reasons)
            raise Reached("The cell was asked.")

        return ask

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(bench.workstation.store), "append", append)
        patch.setattr(bench.workstation.people, "sign", reached)
        for act in ("start", "pause", "resume"):
            patch.setattr(bench.cell, act, by_the_cell(act))
        for act in ("create_run", "enter_weight"):
            patch.setattr(bench.cell, act, reached)
        yield


def judge(bench: Any, view: str, acts: dict[str, Callable[[Any, str], tuple[str, Any]]], *, find: Any = None, base: str = "") -> int:
    """Hold every act on a thing against its view, as everybody; return how many were open."""
    opened = 0
    for who in EVERYBODY:
        answer = bench.ask(who, "GET", view)
        if answer.status_code == 403:
            continue  # who may not look at it is told nothing of its acts
        assert answer.status_code == 200, answer.text
        shown = answer.json() if find is None else find(answer.json())
        allowed = shown["allowed_actions"]
        with stopped_at_its_effect(bench):
            for name, act in acts.items():
                path, body = act(bench, who)
                asked = bench.ask(who, "PUT" if name == "roles" else "POST", f"{base or view}/{path}", body)
                opened += hold(allowed[name], asked, f"{who}: {view} {name}")
    return opened


def hold(said: dict[str, Any], answer: Any, what: str) -> int:
    """`allowed` is exactly that the act was not refused; and the refusal lists what the view listed."""
    problem = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    if said["allowed"]:
        assert said["reasons"] == [] and problem.get("code") == Reached.code, f"{what}: listed as open, and {answer.text[:400]}"
        return 1
    assert said["reasons"], what
    assert problem.get("code") not in (Reached.code, "AP-014") and answer.status_code >= 400, f"{what}: refused by {said['reasons']}, done"
    given = problem["reasons"] or [f"{problem['detail']} {problem['remedy']}".strip()]
    if problem["code"] == RoleMissing.code:  # the route's own guard looks at the role alone, and at times at a wider one
        assert set(given) <= set(said["reasons"]) or any("It takes one of the roles" in reason for reason in said["reasons"]), what
    else:
        assert given == said["reasons"], what
    return 0


def test_orders_and_batches_through_a_day(bench: Any) -> None:
    order = PRODUCTION.enter(bench).json()["order"]
    assert judge(bench, f"/orders/{order}", ORDER_ACTS) == 2, "the second pharmacist and the operator; not who entered it"
    opening = {"batches": lambda bench, who: ("", {"order": order, "cell": "cell-1"})}
    assert judge_opening(bench, order, opening) == 0
    assert PRODUCTION.confirm(bench, order).status_code == 200
    assert judge(bench, f"/orders/{order}", ORDER_ACTS) == 0
    assert judge_opening(bench, order, opening) == 3
    batch = bench.ask("operator", "POST", "/batches", {"order": order, "cell": "cell-1"}).json()["batch"]
    assert judge(bench, f"/batches/{batch}", BATCH_ACTS) == 1 + 3 + 2, "run by the operator, cancelled by three, held by two"
    bench.cell.barred = {"operator": ("training: not trained for cyclophosphamide",)}
    assert bench.ask("operator", "POST", f"/batches/{batch}/run").status_code == 200
    printing = {name: {"allowed": name != "resume", "reasons": [] if name != "resume" else ["the run is printing"]} for name in COMMANDS}
    bench.cell.status_now = {**bench.cell.status_now, "run": RUN, "batch": batch, "state": "PRINTING", "allowed_actions": printing}
    shown = bench.ask("operator", "GET", f"/batches/{batch}").json()["allowed_actions"]
    assert shown["start"]["reasons"] == ["training: not trained for cyclophosphamide"] and shown["pause"]["allowed"]
    judge(bench, f"/batches/{batch}", BATCH_ACTS)
    bench.cell.barred = {}
    judge(bench, f"/batches/{batch}", BATCH_ACTS)
    close(bench, batch)
    opened = judge(bench, f"/batches/{batch}", BATCH_ACTS)
    assert opened == 3 + 2, "cartridges by the pharmacists and the operator, holds by two"
    sign_record(bench, batch, (unit(1),), use_by="2099-12-31")
    assert judge(bench, f"/batches/{batch}", BATCH_ACTS) > opened
    assert judge_opening(bench, order, opening) == 0, "what was printed is not printed again"


COMMANDS = ("start", "pause", "resume", "stop")


def judge_opening(bench: Any, order: str, acts: Any) -> int:
    opened = 0
    for who in EVERYBODY:
        said = bench.ask(who, "GET", f"/orders/{order}").json()["allowed_actions"]["batches"]
        body = acts["batches"](bench, who)[1]
        with stopped_at_its_effect(bench):
            opened += hold(said, bench.ask(who, "POST", "/batches", body), f"{who}: open a batch of {order}")
    return opened


def close(bench: Any, batch: str) -> None:
    bench.cell.record(EventKind.UNIT_PRINT_INTENDED, "unit", f"{RUN}/001", {"n": 1, "strength_mg": "18.5"})
    bench.cell.record(EventKind.RUN_RECORD_CLOSED, "run", RUN, {"state": "AWAITING_REVIEW", "ended": "FINISHED"})
    over = {name: {"allowed": False, "reasons": ["the run has ended"]} for name in COMMANDS}
    bench.cell.status_now = {**bench.cell.status_now, "state": "AWAITING_REVIEW", "allowed_actions": over}
    assert bench.ask("qp", "POST", f"/batches/{batch}/close").status_code == 200


def test_a_recall_shuts_what_it_holds(bench: Any) -> None:
    order = PRODUCTION.enter(bench).json()["order"]
    PRODUCTION.confirm(bench, order)
    batch = bench.ask("operator", "POST", "/batches", {"order": order, "cell": "cell-1"}).json()["batch"]
    assert open_recall(bench).status_code == 201
    opening = {"batches": lambda bench, who: ("", {"order": order, "cell": "cell-1"})}
    assert judge_opening(bench, order, opening) == 0
    assert judge(bench, f"/batches/{batch}", BATCH_ACTS) == 3 + 2, "it may be cancelled, its documents may be held, and no more"
    shown = bench.ask("pharmacist", "GET", "/cartridges/CYC-DEMO-01-A").json()["allowed_actions"]["orders"]
    assert not shown["allowed"] and "recall R00001" in shown["reasons"][0]


def test_dispositions_are_open_as_they_are_signed(bench: Any) -> None:
    batch = PRODUCTION.make_batch(bench)
    bench.ask("operator", "POST", f"/batches/{batch}/run")
    bench.cell.status_now = {**bench.cell.status_now, "run": RUN, "batch": batch, "state": "AWAITING_REVIEW"}
    close(bench, batch)
    for who in EVERYBODY:
        answer = bench.ask(who, "GET", f"/batches/{batch}/to-sign")
        if answer.status_code == 403:
            continue
        for disposition, said in answer.json()["dispositions"].items():
            body = {"disposition": disposition, **signed(bench, who)}
            with stopped_at_its_effect(bench):
                hold(said, bench.ask(who, "POST", f"/batches/{batch}/disposition", body), f"{who}: {disposition}")
    rejected = bench.ask("qp", "GET", f"/batches/{batch}/to-sign").json()["dispositions"]
    assert rejected["rejected"]["allowed"] and len(rejected["released"]["reasons"]) > 3


def test_units_are_removed_and_weighed_by_whom_the_view_says(bench: Any) -> None:
    batch = PRODUCTION.make_batch(bench)
    bench.ask("operator", "POST", f"/batches/{batch}/run")
    waiting = {"unit": f"{RUN}/007", "n": 7, "entry": 1, "attempt": 1, "first_by": None}
    rejected = {**bench.canned_unit(6), "verdict": "rejected", "state": "judged"}
    units = [rejected, {**bench.canned_unit(7), "state": "weighing"}]
    bench.cell.status_now = {**bench.cell.status_now, "run": RUN, "batch": batch, "units": units, "external_weighing": waiting}
    bench.cell.started_by = "operator"

    def judged(n: int) -> int:
        return judge(bench, f"/batches/{batch}/units", UNIT_ACTS, find=lambda rows: rows[n - 6], base=f"/batches/{batch}/units/{n}")

    assert judged(6) == 4, "who may confirm a removal, but for who ran it"
    assert judged(7) == 2, "the operator and, for all that the workstation knows, the engineer"
    bench.cell.status_now = {**bench.cell.status_now, "external_weighing": {**waiting, "entry": 2, "first_by": "operator"}}
    assert judged(7) == 4
    bench.cell.barred = dict.fromkeys(("operator", "engineer"), ("operator: not on the list",))
    bench.cell.status_now = {**bench.cell.status_now, "external_weighing": waiting}
    assert judged(7) == 0


def test_recipes_through_their_life(bench: Any) -> None:
    reference = f"{CASE}@2"
    steps = (
        lambda: draft(bench, version(2)),
        lambda: step(bench, "engineer", "submit", reference),
        lambda: step(bench, "quality", "approve", reference),
        lambda: step(bench, "quality", "effective", reference, reason="validated"),
    )
    opened = []
    for take in steps:
        assert take().status_code in (200, 201)
        opened.append(judge(bench, f"/recipe-versions/{reference}", RECIPE_ACTS))
    assert all(opened) and judge(bench, f"/recipe-versions/{CASE}@1", RECIPE_ACTS) > 0
    draft(bench, version(4, new="173 degC"))
    step(bench, "engineer", "submit", f"{CASE}@4")
    step(bench, "quality", "approve", f"{CASE}@4")
    effective(bench, 5, "174 degC")
    shown = bench.ask("quality", "GET", f"/recipe-versions/{CASE}@4").json()["allowed_actions"]["effective"]
    assert not shown["allowed"] and "stale" in shown["reasons"][0]
    judge(bench, f"/recipe-versions/{CASE}@4", RECIPE_ACTS)


def test_models_through_their_life(bench: Any) -> None:
    steps = (
        lambda: draft_model(bench),
        lambda: model_tried(bench),
        lambda: model_step(bench, "engineer", "submit"),
        lambda: model_step(bench, "quality", "approve"),
        lambda: model_step(bench, "quality", "effective", reason="validated"),
        lambda: bench.ask("quality", "POST", f"/models/{NAME}/suspend", WHY),
    )
    for place, take in enumerate(steps):
        assert take().status_code in (200, 201)
        acts = {name: act for name, act in MODEL_ACTS.items() if name != "test" or place < 2}  # its data are long to send
        assert judge(bench, f"/models/{NAME}", acts) > 0


def test_packs_from_release_to_their_end(bench: Any) -> None:
    batch = release(bench)
    bench.ask("pharmacist", "POST", "/patients/test-1/identity", JANE)
    (pack,) = pack_all(bench, batch)
    code = code_of(bench, pack)
    view = f"/packs/{pack}"
    label = {"account": lambda bench, who: ("", {"outcome": "spoiled", **WHY})}
    moves = (
        lambda: print_label(bench, pack),
        lambda: bench.ask("operator", "POST", f"{view}/scan", {"scanned": code}),
        lambda: bench.ask("operator", "POST", f"/batches/{batch}/packing/close"),
        lambda: bench.ask("pharmacist", "POST", f"{view}/dispense", {"scanned": code, "to": "carer"}),
        lambda: bench.ask("pharmacist", "POST", f"{view}/return", WHY),
        lambda: bench.ask("quality", "POST", f"{view}/destroy", WHY),
    )
    opened = [judge(bench, view, PACK_ACTS)]
    for move in moves:
        assert move().status_code == 200
        opened.append(judge(bench, view, PACK_ACTS))
        judge(bench, f"/batches/{batch}", BATCH_ACTS)
        for who in EVERYBODY:
            said = bench.ask(who, "GET", view).json()["labels"][0]["allowed_actions"]["account"]
            with stopped_at_its_effect(bench):
                hold(said, bench.ask(who, "POST", f"{view}/labels/1", label["account"](bench, who)[1]), f"{who}: account")
    assert opened[-1] == 0 and all(opened[:-1])


def test_a_recall_from_its_opening_to_its_end(bench: Any) -> None:
    batch = release(bench)
    (pack,) = pack_all(bench, batch)
    assert open_recall(bench).status_code == 201
    view = "/recalls/R00001"
    patient = {
        "contacts": lambda bench, who: ("contacts", {"by": "telephone", "outcome": "reached", "note": "told"}),
        "identity": lambda bench, who: ("identity", WHY),
    }
    moves = (
        lambda: bench.ask("pharmacist", "POST", f"/packs/{pack}/return", WHY),
        lambda: bench.ask("pharmacist", "POST", f"{view}/patients/test-1/contacts", patient["contacts"](bench, "")[1]),
        lambda: bench.ask("qp", "POST", f"{view}/close", {**signed(bench, "qp"), **WHY}),
    )
    assert judge(bench, view, RECALL_ACTS) == 0
    opened = []
    for move in moves:
        assert move().status_code in (200, 201), move
        opened.append(judge(bench, view, RECALL_ACTS))
        judge(bench, f"/packs/{pack}", PACK_ACTS)
        judge(bench, view, patient, find=lambda found: found["patients"][0], base=f"{view}/patients/test-1")
    assert opened == [0, 3, 0], "the pharmacists and the qualified person, once everything is accounted for"


def test_accounts_and_cartridges(bench: Any) -> None:
    ask = bench.ask
    assert judge(bench, "/people/operator", PERSON_ACTS) == 5
    themselves = {name: act for name, act in PERSON_ACTS.items() if name != "deputy"}  # no role can be lent to an administrator
    assert judge(bench, "/people/administrator", themselves) == 2, "not the last administrator's end, not one's own roles"
    assert ask("administrator", "POST", "/people", {"username": "gone", "full_name": "G", "roles": ["operator"]}).status_code == 201
    assert ask("administrator", "POST", "/people/gone/deactivate", WHY).status_code == 200
    assert judge(bench, "/people/gone", {name: act for name, act in PERSON_ACTS.items() if name != "password"}) == 0
    assert judge(bench, "/cartridges/CYC-DEMO-01-A", INK_ACTS) == 4
    held = {"held": "under investigation"}
    kind = EventKind.INK_CARTRIDGE_QUARANTINED
    bench.workstation.store.append(EntryDraft(kind, Subject("cartridge", "CYC-DEMO-01-A"), held, SYSTEM, "workstation"))
    for who in EVERYBODY:
        said = ask(who, "GET", "/cartridges/CYC-DEMO-01-A").json()["allowed_actions"]["orders"]
        order = {"order": PRODUCTION.ORDER, **signed(bench, who)}
        with stopped_at_its_effect(bench):
            answer = ask(who, "POST", "/orders", order).json()
        assert not said["allowed"] and (answer["code"] in ("AU-022",) or set(answer["reasons"]) <= set(said["reasons"]))


# -- the form --------------------------------------------------------------------------------------------------------

# acts that are no part of the view of the thing below whose path they are, and why
ELSEWHERE = {
    "/api/v1/batches/{batch}/exceptions/resolution": "in the list of exceptions",
    "/api/v1/batches/{batch}/holds/{name}/lift": "whoever may place a hold may lift it",
    "/api/v1/batches/{batch}/units/{number}/removal": "in the list of units",
    "/api/v1/batches/{batch}/purge-units/{number}/removal": "in the list of units",
    "/api/v1/batches/{batch}/units/{number}/weight": "in the list of units",
    "/api/v1/batches/{batch}/units/{number}/weight/second": "in the list of units",
    "/api/v1/packs/{pack}/labels/{copy}": "in the list of labels",
    "/api/v1/recalls/{recall}/patients/{patient}/identity": "in the list of patients",
    "/api/v1/recalls/{recall}/patients/{patient}/contacts": "in the list of patients",
    "/api/v1/people/{username}/factors/revoke": "listed as factors/revoke",
}


def test_every_act_on_a_thing_is_listed_where_the_thing_is_shown(bench: Any) -> None:
    batch = release(bench)
    (pack,) = pack_all(bench, batch)
    draft_model(bench)
    open_recall(bench)
    views = {
        "orders/{order}": "orders/O00001",
        "batches/{batch}": f"batches/{batch}",
        "recipe-versions/{version}": f"recipe-versions/{CASE}@1",
        "models/{reference}": f"models/{NAME}",
        "packs/{pack}": f"packs/{pack}",
        "recalls/{recall}": "recalls/R00001",
        "people/{username}": "people/operator",
        "cartridges/{serial}": "cartridges/CYC-DEMO-01-A",
    }
    document: Any = openapi_document()
    for form, path in views.items():
        listed = set(bench.ask("quality", "GET", f"/{path}").json()["allowed_actions"])
        under = f"/api/v1/{form}/"
        routes = {
            route.removeprefix(under)
            for route, methods in document["paths"].items()
            if route.startswith(under) and methods.keys() & {"post", "put", "delete"} and route not in ELSEWHERE
        }
        routes = {"holds" if route == "holds/{name}" else route for route in routes}
        assert routes <= listed, f"{form}: {routes - listed} is open and not listed"
        further = {"orders/{order}": {"batches"}, "cartridges/{serial}": {"orders"}, "people/{username}": {"factors/revoke"}}
        assert listed - routes == further.get(form, set()), form
    assert ELSEWHERE.keys() <= document["paths"].keys()


def test_several_reasons_are_raised_as_one_refusal_that_lists_them() -> None:
    def closed() -> None:
        raise WrongState("It is closed.", remedy="Open it.")

    def shut() -> None:
        raise CellRefused(["the guard is open", "no ink"], remedy="Close it.")

    found = against(closed, lambda: None, shut)
    assert reasons_of(found) == ["It is closed. Open it.", "the guard is open", "no ink"]
    with pytest.raises(WrongState, match="It is closed") as refused:
        refuse(found)
    assert list(refused.value.reasons) == reasons_of(found)
    refuse(against(lambda: None))
    assert allowed_actions({"a": found, "b": ()})["b"] == {"allowed": True, "reasons": []}

"""The life cycle of process models at the workstation: written down, tested once on independent data, signed, in use, suspended, withdrawn.

The order is in the trail, so that nobody has to take it on trust: the definition with its acceptance limits is an entry before the test is
one; a version is tested once, and one that failed goes no further. Steps and people are those of recipes (`recipes.lifecycle`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from api.access import Credentials, actor_of
from api.allowed import Acts, Against, against, allowed_actions, refuse
from api.errors import InputInvalid, WrongState
from api.life_steps import KEYS
from api.model_register import ModelRegister, ModelVersion
from api.people import DEVICE, People
from api.recipe_refusals import on_record
from api.security import Permission, Session
from audit.canonical import JsonObject, canonical, sha256_hex
from audit.errors import ModelRefused
from audit.events import EntryDraft, EventKind, Subject
from audit.release.model_evaluation import check_vectors
from audit.release.model_testing import judge, overlap, performance, read_data_set
from audit.release.process_models import ModelDefinition, read_definition
from audit.signatures import Signature
from audit.store import TrailStore
from recipes.effectivity import signer_of
from recipes.lifecycle import RecipeState, Step, advance

MEANING_AUTHOR = "process model author"
MEANING_APPROVER = "process model approval"
MEANING_EFFECTIVE = "process model made effective"
MEANING_RETURNED = "process model returned"
MEANING_RETIRED = "process model withdrawn"
MEANING_REINSTATED = "process model reinstated"
BUNDLE, TEST_DATA = "model-bundle.json", "test-data.json"


class ModelDesk:
    """Drafts, test and steps of process models.

    Lifetime: that of the workstation. Concurrency: one lock for every change, so that two people who press at once take one step.
    """

    def __init__(self, store: TrailStore, people: People) -> None:
        self._store = store
        self._people = people
        self._lock = threading.RLock()
        self.register = ModelRegister(store)

    def view(self, session: Session, reference: str) -> JsonObject:
        """Return one version whole, its life so far, and the steps from here. Raises NotFound."""
        version = self.register.get(reference)
        return {
            **version.state,
            "model": reference,
            "problems": list(check_vectors(version.definition)),
            "allowed_actions": allowed_actions(self._acts(session, version)),
            "life": [
                {"at": entry.at, "kind": entry.kind, "name": entry.actor.name, "role": entry.actor.role, "reason": entry.reason}
                for entry in self._store.search(kind="model.", subject_type="model", subject_id=reference, limit=500)
            ],
        }

    def draft(self, session: Session, definition: object, reason: str) -> JsonObject:
        """Write a definition down, whole; from then on its number means this content. Raises ModelRefused, WrongState, RoleMissing."""
        with self._on_record(session, "draft", "draft"), self._lock:
            actor = actor_of(session, Permission.AUTHOR_MODELS)
            model = read_definition(definition)
            _need(reason, "why this version is written")
            _computes_here(model)
            if self.register.find(model.reference) is not None:
                raise WrongState(f"{model.reference} is there already.", remedy="A version number is never used again: write the next.")
            former = [state for state in self.register.states(model.plan.id) if _whole(state.get("version")) >= model.plan.version]
            if former:
                raise WrongState(f"{model.reference} is older than {former[-1]['model']}.", remedy="Write a newer version.")
            new: JsonObject = {
                "id": model.plan.id,
                "version": model.plan.version,
                "title": model.plan.title,
                "impact": model.plan.impact,
                "quantity": model.plan.output.quantity,
                "status": RecipeState.DRAFT.value,
                "digest": model.digest,
                "definition": model.as_record(),
                "author": None,
                "approver": None,
            }
            self._append(EventKind.MODEL_VERSION_DRAFTED, model.reference, new, session, Permission.AUTHOR_MODELS, reason)
        return {"model": model.reference, "status": "draft", "digest": model.digest, "written_by": actor.username}

    def test(self, session: Session, reference: str, data: object) -> JsonObject:
        """Test a draft on independent data, once. Raises WrongState, ModelRefused for data that is not independent or cannot be read."""
        with self._on_record(session, reference, "test"), self._lock:
            version = self.register.get(reference)
            refuse(_against_testing(session, version))
            model, found = version.definition, read_data_set(data)
            if found.reference_method != model.plan.reference_method:
                raise ModelRefused(
                    f"The data set was measured by {found.reference_method}, the plan asks for {model.plan.reference_method}.",
                    remedy="Test against the reference method of the plan.",
                )
            if shared := overlap(model, found):
                more = f" and {len(shared) - 3} more" if len(shared) > 3 else ""
                raise ModelRefused(
                    f"The data set is not independent of the training: {'; '.join(shared[:3])}{more}.",
                    remedy="Test on batches not fitted to.",
                )
            shown = performance(model, found)
            problems = judge(model, shown)
            tree = canonical(found.as_record())
            new: JsonObject = {
                "test_dataset": found.name,
                "test_dataset_sha256": sha256_hex(tree),
                "test_origin": found.origin,
                "test": shown.as_record(),
                "test_passed": not problems,
                "test_problems": list(problems),
            }
            kind, files = EventKind.MODEL_TEST_COMPLETED, {TEST_DATA: tree}
            self._append(kind, reference, new, session, Permission.AUTHOR_MODELS, None, files)
        return {"model": reference, **new}

    def submit(self, session: Session, reference: str, credentials: Credentials) -> JsonObject:
        """Hand a draft in that has passed its test, signed by its author. Raises TransitionRefused, WrongState, what a signature may."""
        with self._on_record(session, reference, Step.SUBMIT), self._lock:
            version = self._advanced(session, reference, Step.SUBMIT)
            signature = self._sign(session, credentials, Permission.AUTHOR_MODELS, MEANING_AUTHOR, version)
            new: JsonObject = {
                "status": RecipeState.IN_REVIEW.value,
                "author": signer_of(signature),
                "author_signature": signature.as_record(),
            }
            self._append(EventKind.MODEL_VERSION_SUBMITTED, reference, new, session, Permission.AUTHOR_MODELS, None)
        return {"model": reference, "status": new["status"]}

    def approve(self, session: Session, reference: str, credentials: Credentials) -> JsonObject:
        """Approve what another person wrote; the signed definition file is made."""
        with self._on_record(session, reference, Step.APPROVE), self._lock:
            version = self._advanced(session, reference, Step.APPROVE)
            signature = self._sign(session, credentials, Permission.APPROVE_MODELS, MEANING_APPROVER, version)
            author = version.state.get("author_signature")
            bundle = canonical({"definition": version.definition.as_record(), "signatures": [author, signature.as_record()]})
            new: JsonObject = {
                "status": RecipeState.APPROVED.value,
                "approver": signer_of(signature),
                "approver_signature": signature.as_record(),
                "bundle_sha256": sha256_hex(bundle),
            }
            kind, files = EventKind.MODEL_VERSION_APPROVED, {BUNDLE: bundle}
            self._append(kind, reference, new, session, Permission.APPROVE_MODELS, None, files)
        return {"model": reference, "status": new["status"]}

    def give_back(self, session: Session, reference: str, credentials: Credentials, reason: str) -> JsonObject:
        """Return a version to its author, with the reason."""
        with self._on_record(session, reference, Step.RETURN), self._lock:
            version = self._advanced(session, reference, Step.RETURN)
            _need(reason, "why it is returned")
            permission = _quality_or_author(session)
            signature = self._sign(session, credentials, permission, MEANING_RETURNED, version)
            new: JsonObject = {"status": RecipeState.DRAFT.value, "author": None, "approver": None, "bundle_sha256": None}
            self._append(
                EventKind.MODEL_VERSION_RETURNED, reference, {**new, "returned": signature.as_record()}, session, permission, reason
            )
        return {"model": reference, "status": new["status"]}

    def make_effective(self, session: Session, reference: str, credentials: Credentials, reason: str) -> JsonObject:
        """Take a version into use in place of the former one."""
        with self._on_record(session, reference, Step.MAKE_EFFECTIVE), self._lock:
            version = self._advanced(session, reference, Step.MAKE_EFFECTIVE)
            _need(reason, "why it becomes effective")
            permission = Permission.APPROVE_MODELS
            signature = self._sign(session, credentials, permission, MEANING_EFFECTIVE, version)
            actor = actor_of(session, permission)
            drafts = []
            former = [s for s in self.register.states(version.definition.plan.id) if s.get("status") == RecipeState.EFFECTIVE.value]
            for state in former:
                gone: JsonObject = {"status": RecipeState.SUPERSEDED.value, "superseded_by": reference}
                subject = Subject("model", str(state["model"]))
                drafts.append(EntryDraft(EventKind.MODEL_VERSION_SUPERSEDED, subject, gone, actor, DEVICE, reason=reason))
            new: JsonObject = {"status": RecipeState.EFFECTIVE.value, "suspended": None, "effective_signature": signature.as_record()}
            drafts.append(EntryDraft(EventKind.MODEL_VERSION_EFFECTIVE, Subject("model", reference), new, actor, DEVICE, reason=reason))
            self._store.append(*drafts)
        return {"model": reference, "status": "effective", "supersedes": [state["model"] for state in former]}

    def retire(self, session: Session, reference: str, credentials: Credentials, reason: str) -> JsonObject:
        """Withdraw a version for good."""
        with self._on_record(session, reference, Step.RETIRE), self._lock:
            version = self._advanced(session, reference, Step.RETIRE)
            _need(reason, "why it is withdrawn")
            permission = _quality_or_author(session)
            signature = self._sign(session, credentials, permission, MEANING_RETIRED, version)
            new: JsonObject = {"status": RecipeState.RETIRED.value, "withdrawal": signature.as_record()}
            self._append(EventKind.MODEL_VERSION_RETIRED, reference, new, session, permission, reason)
        return {"model": reference, "status": "retired"}

    def suspend(self, session: Session, reference: str, reason: str) -> JsonObject:
        """Take an effective version out of use until it is reviewed: batches that need it are held. No signature: it is the safe side."""
        with self._on_record(session, reference, "suspend"), self._lock:
            refuse(_against_suspending(session, self.register.get(reference)))
            _need(reason, "why it is suspended")
            new: JsonObject = {"suspended": reason.strip()[:500]}
            kind = EventKind.MODEL_VERSION_SUSPENDED
            self._append(kind, reference, new, session, Permission.SUSPEND_MODELS, reason)
        return {"model": reference, "suspended": new["suspended"]}

    def reinstate(self, session: Session, reference: str, credentials: Credentials, reason: str) -> JsonObject:
        """Take a suspended version into use again, the cause being assigned; its charts begin anew. Raises WrongState, RoleMissing."""
        with self._on_record(session, reference, "reinstate"), self._lock:
            version = self.register.get(reference)
            refuse(self._against_reinstating(session, version))
            _need(reason, "which cause was found and what was done")
            signature = self._sign(session, credentials, Permission.APPROVE_MODELS, MEANING_REINSTATED, version)
            new: JsonObject = {"suspended": None, "reinstated": signature.as_record()}
            self._append(EventKind.MODEL_VERSION_REINSTATED, reference, new, session, Permission.APPROVE_MODELS, reason)
        return {"model": reference, "suspended": None}

    # What the steps are made of

    def _advanced(self, session: Session, reference: str, step: Step) -> ModelVersion:
        version = self.register.get(reference)
        refuse(self._against(session, version, step))
        return version

    def _acts(self, session: Session, version: ModelVersion) -> Acts:
        """Return what stands against each act of this person on a version."""
        return {
            "test": _against_testing(session, version),
            **{key: self._against(session, version, step) for step, key in KEYS.items()},
            "suspend": _against_suspending(session, version),
            "reinstate": self._against_reinstating(session, version),
        }

    def _against(self, session: Session, version: ModelVersion, step: Step) -> Against:
        person, digest = self._person(session), version.definition.digest
        checks: list[Callable[[], object]] = [
            lambda: session.role_for(Permission.CHANGE_MODELS),
            lambda: advance(version.standing, step, person=person, roles=_roles(session), digest=digest),
        ]
        if step is not Step.RETIRE:
            checks.insert(0, lambda: _computes_here(version.definition))
        if step is Step.SUBMIT:
            checks.append(lambda: _tested(version))
        return against(*checks)

    def _against_reinstating(self, session: Session, version: ModelVersion) -> Against:
        return against(
            lambda: session.role_for(Permission.APPROVE_MODELS),
            lambda: _suspended(version),
            lambda: _another_than_author(session, version, self._person(session)),
        )

    def _append(
        self,
        kind: EventKind,
        reference: str,
        new: JsonObject,
        session: Session,
        permission: Permission,
        reason: str | None,
        attachments: Mapping[str, bytes] | None = None,
    ) -> None:
        actor = actor_of(session, permission)
        self._store.append(EntryDraft(kind, Subject("model", reference), new, actor, DEVICE, reason=reason, attachments=attachments or {}))

    def _sign(self, session: Session, credentials: Credentials, permission: Permission, meaning: str, version: ModelVersion) -> Signature:
        if credentials.username not in (None, session.username):
            raise InputInvalid("A step is signed by the person who is logged in.", remedy="Log in as the person who signs.")
        subject, digest = Subject("model", version.reference), version.definition.digest
        return self._people.sign(session, credentials, permission=permission, meaning=meaning, digest=digest, subject=subject)

    def _on_record(self, session: Session, reference: str, step: str) -> AbstractContextManager[None]:
        kind = EventKind.MODEL_REQUEST_REFUSED
        return on_record(self._store, session, reference, step, kind=kind, about="model_request")

    def _person(self, session: Session) -> str:
        return f"{self._store.origin}/{session.username}"


def _against_testing(session: Session, version: ModelVersion) -> Against:
    return against(lambda: session.role_for(Permission.AUTHOR_MODELS), lambda: _untested(version))


def _against_suspending(session: Session, version: ModelVersion) -> Against:
    return against(lambda: session.role_for(Permission.SUSPEND_MODELS), lambda: _may_be_suspended(version))


def _untested(version: ModelVersion) -> None:
    if version.status != RecipeState.DRAFT.value or version.state.get("test_passed") is not None:
        raise WrongState(f"{version.reference} is {version.status} and was tested, or is past it.", remedy="A version is tested once.")


def _tested(version: ModelVersion) -> None:
    if version.state.get("test_passed") is not True:
        raise WrongState(f"{version.reference} has not passed a test on independent data.", remedy="Test it, or write a better version.")


def _in_use(version: ModelVersion) -> None:
    if version.status != RecipeState.EFFECTIVE.value:
        raise WrongState(f"{version.reference} is {version.status}.", remedy="Only a model in use is suspended or reinstated.")


def _may_be_suspended(version: ModelVersion) -> None:
    _in_use(version)
    if version.suspended is not None:
        raise WrongState(f"{version.reference} is suspended already ({version.suspended}).", remedy="Review it.")


def _suspended(version: ModelVersion) -> None:
    _in_use(version)
    if version.suspended is None:
        raise WrongState(f"{version.reference} is not suspended.", remedy="There is nothing to reinstate.")


def _another_than_author(session: Session, version: ModelVersion, person: str) -> None:
    if version.state.get("author") == person:
        raise WrongState(f"{session.username} wrote {version.reference} and may not reinstate it.", remedy="Another person does.")


def _computes_here(model: ModelDefinition) -> None:
    """Refuse a model whose reference vectors come out otherwise here: what was validated is not what would be used."""
    if problems := check_vectors(model):
        raise ModelRefused(f"{'; '.join(problems)}.", remedy="Fit and test it anew with this version of the software.")


def _roles(session: Session) -> frozenset[str]:
    return frozenset(role.value for role in session.roles)


def _quality_or_author(session: Session) -> Permission:
    quality = {role.value for role in session.roles} & {"quality_assurance", "qualified_person"}
    return Permission.APPROVE_MODELS if quality else Permission.AUTHOR_MODELS


def _need(reason: str, what: str) -> None:
    if not reason.strip():
        raise InputInvalid("A reason is needed.", remedy=f"Say {what}.")


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0

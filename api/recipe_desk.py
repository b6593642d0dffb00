"""The life cycle of recipes at the workstation: each step is signed by a person, bound to the content, and on record.

A draft is nobody's word; its author signs it when handing it in, and from then on its number means this content and no other. Another
person approves; a person of quality makes it effective, on confirmatory batches, in place of the former version, in one entry. What was
refused is on record too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import date, timedelta

from pydantic import ValidationError

from api.access import Credentials, actor_of, actor_record
from api.allowed import Acts, Against, against, allowed_actions, refuse
from api.cells import CellDirectory
from api.confirmation import confirmatory_batch
from api.errors import InputInvalid, WrongState
from api.life_steps import KEYS
from api.people import DEVICE, People, Shown
from api.production import json_tree
from api.recipe_refusals import on_record
from api.recipe_trust import TrustedPeople
from api.recipe_versions import SOLID, TOML, Version, Versions
from api.release_desk import ReleaseDesk
from api.security import Permission, Session
from api.shelf import BUNDLE, effective_entry, recipe_fields
from audit.canonical import JsonObject, canonical, sha256_hex
from audit.errors import DosewrightError
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.release.trail_view import count_of
from audit.signatures import Signature
from audit.store import TrailStore
from printer.standing import local_day
from recipes.bundle_file import read_bundle_file, write_bundle_file
from recipes.effectivity import (
    EXEMPT,
    MEANING_EFFECTIVE,
    MEANING_WITHDRAWN,
    EffectiveStatement,
    SignedStatement,
    SignedWithdrawal,
    Withdrawal,
    ground_reasons,
    signer_of,
)
from recipes.errors import RecipeRefused
from recipes.figures import DEMONSTRATION_STATUS, explain
from recipes.lifecycle import RecipeState, Step, advance
from recipes.model import Recipe, StlSolid, parse_recipe
from recipes.store import (
    MEANING_APPROVER,
    MEANING_AUTHOR,
    MEANING_DEVELOPMENT,
    DevelopmentRecipe,
    bundle_recipe,
    solid_file,
    solid_text,
    verify_bundle,
)

MEANING_RETURNED = "recipe returned"
REVIEW_DAYS = 364


class RecipeDesk:
    """Drafts, steps, export and import of recipe versions.

    Lifetime: that of the workstation. Concurrency: one lock for every change, so that two people who press at once take one step.
    Cells are told after the entry is written, outside the lock.
    """

    def __init__(
        self,
        store: TrailStore,
        people: People,
        cells: CellDirectory,
        release: ReleaseDesk,
        trusted: TrustedPeople,
        *,
        demonstration: bool,
    ) -> None:
        self._store = store
        self._people = people
        self._cells = cells
        self._release = release
        self._trusted = trusted
        self._demonstration = demonstration
        self._lock = threading.RLock()
        self.versions = Versions(store)

    # What there is

    def view(self, session: Session, reference: str) -> JsonObject:
        """Return one version with its life so far, its difference from the former, and the steps from here. Raises NotFound."""
        version = self.versions.get(reference)
        compared, changes = self.versions.difference(version)
        return {
            **version.state,
            "reference": reference,
            "recipe_toml": version.toml.decode("utf-8"),
            "compared_with": compared,
            "difference": [change.as_record() for change in changes],
            "allowed_actions": allowed_actions(self._acts(session, version)),
            "life": [
                {"at": entry.at, "kind": entry.kind, "name": entry.actor.name, "role": entry.actor.role, "reason": entry.reason}
                for entry in self._store.search(kind="recipe.", subject_id=reference, limit=200)
                if entry.subject.type == "recipe"
            ],
        }

    def difference(self, reference: str, other: str | None) -> JsonObject:
        """Return what differs between a version and another, or the one it follows. Raises NotFound."""
        compared, changes = self.versions.difference(self.versions.get(reference), other)
        return {"recipe": reference, "compared_with": compared, "difference": [change.as_record() for change in changes]}

    # The steps

    def draft(self, session: Session, recipe_toml: str, reason: str, solid: str | None = None) -> JsonObject:
        """Write down a new version, or a draft that nobody has signed yet anew; `solid` is the STL file that it binds, in base64.

        Raises RecipeRefused, SolidFileRefused, WrongState, RoleMissing.
        """
        with on_record(self._store, session, "draft", reason):
            actor = actor_of(session, Permission.AUTHOR_RECIPES)
            toml = recipe_toml.encode("utf-8")
            recipe = parse_recipe(toml)
            file = _solid_file(recipe, solid)
            _need(reason, "why this version is written")
            with self._lock:
                self._number_is_free(recipe.id, recipe.version, recipe.reference)
                new: JsonObject = {**recipe_fields(recipe, RecipeState.DRAFT.value), "toml_sha256": sha256_hex(toml), "reason": reason}
                new |= {"author": None, "approver": None, "development_sha256": None}
                if file is not None:
                    new["solid_sha256"] = sha256_hex(file)
                compared, changes = self.versions.difference(Version(new, toml, recipe))
                if compared is not None and not changes:
                    raise WrongState(f"Recipe {recipe.reference} says what {compared} says.", remedy="A new version is for a change.")
                record: JsonObject = {"compared_with": compared, "difference": [change.as_record() for change in changes]}
                attachments = {TOML: toml, "difference.json": canonical(record), **({} if file is None else {SOLID: file})}
                kind, subject = EventKind.RECIPE_VERSION_DRAFTED, Subject("recipe", recipe.reference)
                self._store.append(EntryDraft(kind, subject, new, actor, DEVICE, reason=reason, attachments=attachments))
        return {"recipe": recipe.reference, "status": "draft", "digest": recipe.digest, **record}

    def submit(self, session: Session, reference: str, credentials: Credentials) -> JsonObject:
        """Hand a draft in for review, signed by its author."""
        with on_record(self._store, session, reference, Step.SUBMIT), self._lock:
            version = self._advanced(session, reference, Step.SUBMIT)
            signature = self._sign(session, credentials, Permission.AUTHOR_RECIPES, MEANING_AUTHOR, version.recipe.digest, reference)
            new: JsonObject = {
                "status": RecipeState.IN_REVIEW.value,
                "author": signer_of(signature),
                "approver": None,
                "author_signature": signature.as_record(),
            }
            self._append(EventKind.RECIPE_VERSION_SUBMITTED, reference, new, session, Permission.AUTHOR_RECIPES, None)
        return {"recipe": reference, **new}

    def approve(self, session: Session, reference: str, credentials: Credentials) -> JsonObject:
        """Approve what another person wrote; the bundle of both signatures is made."""
        with on_record(self._store, session, reference, Step.APPROVE), self._lock:
            version = self._advanced(session, reference, Step.APPROVE)
            signature = self._sign(session, credentials, Permission.APPROVE_RECIPES, MEANING_APPROVER, version.recipe.digest, reference)
            author = version.signature("author_signature")
            data = canonical(bundle_recipe(version.toml, author, signature, solid=version.solid).as_record())
            new: JsonObject = {
                "status": RecipeState.APPROVED.value,
                "approver": signer_of(signature),
                "approver_signature": signature.as_record(),
                "bundle_sha256": sha256_hex(data),
            }
            kind = EventKind.RECIPE_VERSION_APPROVED
            self._append(kind, reference, new, session, Permission.APPROVE_RECIPES, None, {BUNDLE: data})
        return {"recipe": reference, "status": new["status"]}

    def give_back(self, session: Session, reference: str, credentials: Credentials, reason: str) -> JsonObject:
        """Return a version to its author, with the reason. A changed content then needs a new number."""
        with on_record(self._store, session, reference, Step.RETURN), self._lock:
            version = self._advanced(session, reference, Step.RETURN)
            _need(reason, "why it is returned")
            permission = _quality_or_author(session)
            signature = self._sign(session, credentials, permission, MEANING_RETURNED, version.recipe.digest, reference)
            new: JsonObject = {
                "status": RecipeState.DRAFT.value,
                "author": None,
                "approver": None,
                "bundle_sha256": None,
                "returned": signature.as_record(),
            }
            self._append(EventKind.RECIPE_VERSION_RETURNED, reference, new, session, permission, reason)
        return {"recipe": reference, "status": new["status"]}

    def make_effective(
        self, session: Session, reference: str, credentials: Credentials, *, reason: str, review_by: str = "", batches: tuple[str, ...] = ()
    ) -> JsonObject:
        """Make an approved version effective in place of the former one. Raises RecipeRefused with what is missing of its ground."""
        with on_record(self._store, session, reference, Step.MAKE_EFFECTIVE), self._lock:
            version = self._advanced(session, reference, Step.MAKE_EFFECTIVE)
            _need(reason, "why it becomes effective")
            superseded = self._superseded(session, version)
            statement = self._statement(version, None if superseded is None else superseded.reference, review_by, batches)
            permission = Permission.APPROVE_RECIPES
            signature = self._sign(session, credentials, permission, MEANING_EFFECTIVE, statement.digest, reference)
            approved, actor = self.versions.bundle(version), actor_of(session, permission)
            bundle = approved.model_copy(update={"effective": SignedStatement(statement=statement, signature=signature)})
            drafts = [effective_entry(version.recipe, bundle, actor, reason)]
            if superseded is not None:
                gone: JsonObject = {"status": RecipeState.SUPERSEDED.value, "superseded_by": reference}
                subject = Subject("recipe", superseded.reference)
                drafts.insert(0, EntryDraft(EventKind.RECIPE_VERSION_SUPERSEDED, subject, gone, actor, DEVICE, reason=reason))
            self._store.append(*drafts)
        record = json_tree(bundle.as_record())
        told = self._tell(lambda cell: self._cells.client(cell).recipe_effective(record, actor_record(actor)))
        return {
            "recipe": reference,
            "status": "effective",
            "supersedes": statement.supersedes,
            "review_by": statement.review_by,
            "told": told,
        }

    def retire(self, session: Session, reference: str, credentials: Credentials, reason: str) -> JsonObject:
        """Withdraw a version: it is printed no more, and no step leads back."""
        with on_record(self._store, session, reference, Step.RETIRE), self._lock:
            version = self._advanced(session, reference, Step.RETIRE)
            _need(reason, "why it is withdrawn")
            permission = _quality_or_author(session)
            withdrawal = Withdrawal(recipe=reference, recipe_digest=version.recipe.digest, reason=reason)
            signature = self._sign(session, credentials, permission, MEANING_WITHDRAWN, withdrawal.digest, reference)
            signed = SignedWithdrawal(withdrawal=withdrawal, signature=signature)
            was_effective = version.status == RecipeState.EFFECTIVE.value
            new: JsonObject = {"status": RecipeState.RETIRED.value, "withdrawal": signed.as_record()}
            actor = self._append(EventKind.RECIPE_VERSION_RETIRED, reference, new, session, permission, reason)
        told: JsonObject = {}
        if was_effective:
            record = json_tree(signed.as_record())
            told = self._tell(lambda cell: self._cells.client(cell).recipe_withdrawn(record, actor_record(actor)))
        return {"recipe": reference, "status": "retired", "told": told}

    def open_for_development(self, session: Session, reference: str, credentials: Credentials) -> JsonObject:
        """Open a version that is not effective for development runs: what is made by it is not for patients."""
        with on_record(self._store, session, reference, "open for development"), self._lock:
            version = self.versions.get(reference)
            refuse(_against_developing(session, version))
            digest = version.recipe.digest
            signature = self._sign(session, credentials, Permission.DEVELOP, MEANING_DEVELOPMENT, digest, reference)
            toml, solid = version.toml.decode("utf-8"), solid_text(version.solid)
            opened = DevelopmentRecipe(recipe_toml=toml, development=signature, solid=solid)
            data = canonical(opened.as_record())
            new: JsonObject = {"development_sha256": sha256_hex(data), "development_by": signer_of(signature)}
            kind, attachments = EventKind.RECIPE_DEVELOPMENT_OPENED, {"development-recipe.json": data}
            self._append(kind, reference, new, session, Permission.DEVELOP, None, attachments)
        return {"recipe": reference, "status": version.status, "development": True}

    # From site to site

    def export(self, session: Session, reference: str) -> bytes:
        """Return the signed bundle of an approved version as a file; the export is an entry. Raises NotFound."""
        with on_record(self._store, session, reference, "export"), self._lock:
            version = self.versions.get(reference)
            refuse(self._against_exporting(session, version))
            data = write_bundle_file(self.versions.bundle(version))
            new: JsonObject = {"exported_sha256": sha256_hex(data)}
            self._append(EventKind.RECIPE_BUNDLE_EXPORTED, reference, new, session, Permission.CHANGE_RECIPES, None)
        return data

    def take_in(self, session: Session, data: bytes) -> JsonObject:
        """Take in a bundle that people signed whom this site trusts; it is approved here, not effective.

        Raises RecipeRefused (changed, unsigned, self-approved, unknown signer), WrongState (stale, or a number used for other content).
        """
        with on_record(self._store, session, "import", sha256_hex(data)), self._lock:
            actor = actor_of(session, Permission.APPROVE_RECIPES)
            bundle = read_bundle_file(data)
            recipe = verify_bundle(bundle, self._trusted.people())
            self._is_news(recipe.id, recipe.version, recipe.reference)
            approved = bundle.model_copy(update={"effective": None})
            kept, toml = canonical(approved.as_record()), bundle.recipe_toml.encode("utf-8")
            author, approver = bundle.signatures
            new: JsonObject = {
                **recipe_fields(recipe, RecipeState.APPROVED.value),
                "author": signer_of(author),
                "approver": signer_of(approver),
                "author_signature": author.as_record(),
                "approver_signature": approver.as_record(),
                "toml_sha256": sha256_hex(toml),
                "bundle_sha256": sha256_hex(kept),
                "imported_sha256": sha256_hex(data),
            }
            attachments = {TOML: toml, BUNDLE: kept, "imported.json": data}
            if (file := bundle.solid_file) is not None:
                new["solid_sha256"] = sha256_hex(file)
                attachments[SOLID] = file
            kind, subject = EventKind.RECIPE_BUNDLE_IMPORTED, Subject("recipe", recipe.reference)
            self._store.append(EntryDraft(kind, subject, new, actor, DEVICE, attachments=attachments))
        signers: JsonObject = {"author": author.manifestation, "approver": approver.manifestation}
        return {"recipe": recipe.reference, "status": "approved", **signers}

    # What the steps are made of

    def _advanced(self, session: Session, reference: str, step: Step) -> Version:
        """Return a version from which the step is open to this person. Raises TransitionRefused, NotFound."""
        version = self.versions.get(reference)
        refuse(self._against(session, version, step))
        return version

    def _acts(self, session: Session, version: Version) -> Acts:
        """Return what stands against each act of this person on a version."""
        steps = {key: self._against(session, version, step) for step, key in KEYS.items()}
        further = {"development": _against_developing(session, version), "export": self._against_exporting(session, version)}
        return {**steps, **further}

    def _against(self, session: Session, version: Version, step: Step) -> Against:
        person, roles = self._person(session), self._roles(session)
        found = against(
            lambda: session.role_for(Permission.CHANGE_RECIPES),
            lambda: advance(version.standing, step, person=person, roles=roles, digest=version.recipe.digest),
        )
        if step is Step.MAKE_EFFECTIVE and version.status == RecipeState.APPROVED.value:
            found += against(lambda: self._superseded(session, version), lambda: self._for_patients(version.recipe))
        return found

    def _against_exporting(self, session: Session, version: Version) -> Against:
        return against(lambda: session.role_for(Permission.CHANGE_RECIPES), lambda: self.versions.bundle(version))

    def _for_patients(self, recipe: Recipe) -> None:
        if recipe.status_text == DEMONSTRATION_STATUS and not self._demonstration:
            raise RecipeRefused(
                f"Recipe {recipe.reference} is a demonstration, not for clinical use.", remedy="A site makes its own recipes effective."
            )

    def _superseded(self, session: Session, version: Version) -> Version | None:
        """Return the version that this one takes the place of. Raises WrongState where it is older than what is effective."""
        states = [state for state in self.versions.states(version.recipe.id) if state.get("status") in ("effective", "superseded")]
        newest = max((count_of(state.get("version")) or 0 for state in states), default=0)
        if newest > version.recipe.version:
            raise WrongState(
                f"Recipe {version.reference} is stale: {version.recipe.id}@{newest} has been effective.", remedy="Write a newer version."
            )
        effective = next((state for state in states if state.get("status") == "effective"), None)
        if effective is None:
            return None
        return self._advanced(session, f"{version.recipe.id}@{effective.get('version')}", Step.SUPERSEDE)

    def _statement(self, version: Version, supersedes: str | None, review_by: str, batches: tuple[str, ...]) -> EffectiveStatement:
        recipe, today = version.recipe, self._today()
        is_demonstration = recipe.status_text == DEMONSTRATION_STATUS
        confirmatory = tuple(confirmatory_batch(name, self._release.review(name), self._batch_status(name)) for name in batches)
        try:
            statement = EffectiveStatement(
                recipe=recipe.reference,
                recipe_digest=recipe.digest,
                effective_from=today.isoformat(),
                review_by=review_by or (today + timedelta(days=REVIEW_DAYS)).isoformat(),
                supersedes=supersedes,
                confirmatory=confirmatory,
                exemption=EXEMPT if is_demonstration and not batches else None,
            )
        except ValidationError as error:
            raise InputInvalid(f"This cannot be made effective: {explain(error)}.", remedy="Write dates as 2027-11-20.") from error
        if reasons := ground_reasons(recipe, statement):
            raise RecipeRefused(
                f"Recipe {recipe.reference} cannot become effective: {'; '.join(reasons)}.",
                remedy="Print confirmatory batches of this version in development mode, close them, and name them.",
            )
        return statement

    def _today(self) -> date:
        return date.fromisoformat(local_day(self._store.clock.utc()))

    def _batch_status(self, name: str) -> str:
        return str((self._store.state("batch", name) or {}).get("status"))

    def _number_is_free(self, recipe_id: str, version: int, reference: str) -> None:
        """Refuse a number that has been signed for other content, or is older than what has been handed in. Raises WrongState."""
        for state in self.versions.states(recipe_id):
            known = self.versions.get(f"{recipe_id}@{state.get('version')}")
            if known.submitted and known.recipe.version >= version:
                raise WrongState(
                    f"{reference}: {known.reference} has been handed in, and a version number is never used again.",
                    remedy=f"Write the change as version {known.recipe.version + 1}.",
                )

    def _is_news(self, recipe_id: str, version: int, reference: str) -> None:
        """Refuse what is stale here or known already. Raises WrongState."""
        for state in self.versions.states(recipe_id):
            known = count_of(state.get("version")) or 0
            settled = state.get("status") in ("effective", "superseded", "retired")
            if known == version or (settled and known > version):
                raise WrongState(
                    f"{reference} is stale: this site has {recipe_id}@{known}, {state.get('status')}.",
                    remedy="Ask for a version that is newer than what is here.",
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
    ) -> Actor:
        actor = actor_of(session, permission)
        self._store.append(EntryDraft(kind, Subject("recipe", reference), new, actor, DEVICE, reason=reason, attachments=attachments or {}))
        return actor

    def _sign(
        self, session: Session, credentials: Credentials, permission: Permission, meaning: str, digest: str, reference: str
    ) -> Signature:
        if credentials.username not in (None, session.username):
            raise InputInvalid("A step is signed by the person who is logged in.", remedy="Log in as the person who signs.")
        subject = Subject("recipe", reference)
        shown = Shown(self.versions.get(reference).recipe.digest, "the page Recipes", f"GET /api/v1/recipe-versions/{reference}")
        return self._people.sign(session, credentials, permission=permission, meaning=meaning, digest=digest, subject=subject, shown=shown)

    def _person(self, session: Session) -> str:
        return f"{self._store.origin}/{session.username}"

    @staticmethod
    def _roles(session: Session) -> frozenset[str]:
        return frozenset(role.value for role in session.roles)

    def _tell(self, tell: Callable[[str], None]) -> JsonObject:
        """Tell every cell; return for each whether it was told, or why not. A cell that was not told is told by the next job."""
        told: JsonObject = {}
        for cell in self._cells.names:
            try:
                tell(cell)
                told[cell] = True
            except DosewrightError as error:
                told[cell] = error.message
        return told


def _against_developing(session: Session, version: Version) -> Against:
    return against(lambda: session.role_for(Permission.DEVELOP), lambda: _on_its_way(version))


def _on_its_way(version: Version) -> None:
    if version.status not in (RecipeState.DRAFT.value, RecipeState.IN_REVIEW.value, RecipeState.APPROVED.value):
        raise WrongState(f"Recipe {version.reference} is {version.status}.", remedy="Development runs are for versions on their way.")


def _quality_or_author(session: Session) -> Permission:
    """Return in which of two rights a person acts who may have either."""
    quality = {role.value for role in session.roles} & {"quality_assurance", "qualified_person"}
    return Permission.APPROVE_RECIPES if quality else Permission.AUTHOR_RECIPES


def _solid_file(recipe: Recipe, solid: str | None) -> bytes | None:
    """Return the STL file of a recipe, judged as a cell will judge it; None for a recipe that binds none."""
    geometry, file = recipe.geometry, solid_file(solid)
    if not isinstance(geometry, StlSolid):
        if file is not None:
            raise InputInvalid(f"Recipe {recipe.reference} binds no STL file, one was sent.", remedy="Send the recipe alone.")
        return None
    from recipes.stl_solid import bound_solid  # numerical kernels load only when a file is judged

    bound_solid(geometry, file)
    return file


def _need(reason: str, what: str) -> None:
    if not reason.strip():
        raise InputInvalid("A reason is needed.", remedy=f"Say {what}.")

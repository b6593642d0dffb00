"""Recipe bundles: a recipe file with the signatures of its author and its approver, and what makes it effective.

A bundle is what travels to a cell or to another site. Who receives it holds a list of trusted people and believes nothing else:
the signatures must be over the digest of the file as it is, by two different people who hold the roles for it. For patients a
cell prints a bundle with its signed statement that it is effective; in development mode, content that one process engineer signed.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from audit.errors import DosewrightError
from audit.signatures import Signature, verify_signature
from recipes.effectivity import SignedStatement, check_statement
from recipes.errors import RecipeRefused
from recipes.figures import Document, explain
from recipes.lifecycle import APPROVER_ROLES, AUTHOR_ROLES
from recipes.model import Recipe, parse_recipe
from recipes.shape_families import StlSolid

MEANING_AUTHOR = "recipe author"
MEANING_APPROVER = "recipe approval"
MEANING_DEVELOPMENT = "development runs, not for patients"
DEVELOPER_ROLE = "process_engineer"
LARGEST_FILE = 256 * 1024
LARGEST_SOLID = 4 * 1024 * 1024 * 3 // 4
"""Characters: what a request to a cell has room for beside the recipe; the file itself is bounded where it is read."""

_SIGN_FOR_DEVELOPMENT = "Have a process engineer who is enrolled here open this content for development runs."
_MAKE_ANEW = "Have the file as it is signed by its author and by an approver, and send that bundle."


class RecipeBundle(Document):
    """A recipe file (TOML text) with its two signatures, in the order author, approver.

    `solid` is the STL file, in base64, of a recipe that binds one by its SHA-256: what is signed covers it. `effective`: the signed
    statement that it may be printed for patients; absent where it is approved and no more.
    """

    recipe_toml: Annotated[str, Field(max_length=LARGEST_FILE)]
    signatures: tuple[Signature, Signature]
    solid: Annotated[str, Field(max_length=LARGEST_SOLID)] | None = None
    effective: SignedStatement | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value is not None}

    @property
    def solid_file(self) -> bytes | None:
        """The bytes of the STL file. Raises RecipeRefused where they are not base64."""
        return solid_file(self.solid)


class DevelopmentRecipe(Document):
    """A recipe file that one process engineer signed for development runs. Whatever is made by it is not for patients."""

    recipe_toml: Annotated[str, Field(max_length=LARGEST_FILE)]
    development: Signature
    solid: Annotated[str, Field(max_length=LARGEST_SOLID)] | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value is not None}

    @property
    def solid_file(self) -> bytes | None:
        """The bytes of the STL file. Raises RecipeRefused where they are not base64."""
        return solid_file(self.solid)


def solid_text(solid: bytes | None) -> str | None:
    """Return an STL file as bundles carry it."""
    return None if solid is None else base64.b64encode(solid).decode("ascii")


def solid_file(solid: str | None) -> bytes | None:
    """Return the bytes of an STL file from a bundle. Raises RecipeRefused where they are not base64."""
    if solid is None:
        return None
    try:
        return base64.b64decode(solid, validate=True)
    except ValueError as error:
        raise RecipeRefused("The STL file of the recipe bundle is not base64.", remedy=_MAKE_ANEW) from error


def bundle_recipe(
    recipe_toml: bytes,
    author: Signature,
    approver: Signature,
    *,
    effective: SignedStatement | None = None,
    solid: bytes | None = None,
) -> RecipeBundle:
    """Join a recipe file and two signatures over its digest (`Recipe.digest`), the STL file that it binds, and what makes it effective.

    Checks form, content and the signatures themselves, not who is trusted: that is for the reader of the bundle.
    Raises RecipeRefused.
    """
    parse_recipe(recipe_toml)
    bundle = RecipeBundle(
        recipe_toml=recipe_toml.decode("utf-8"), signatures=(author, approver), solid=solid_text(solid), effective=effective
    )
    _checked_recipe(bundle)
    return bundle


def read_bundle(record: object) -> RecipeBundle:
    """Read a bundle from a JSON tree. Raises RecipeRefused naming what is wrong with its form."""
    try:
        return RecipeBundle.model_validate(record)
    except ValidationError as error:
        raise RecipeRefused(f"The recipe bundle has not the right form: {explain(error)}.", remedy=_MAKE_ANEW) from error


def verify_bundle(bundle: RecipeBundle, trusted_people: Mapping[str, Collection[str]]) -> Recipe:
    """Return the recipe of a bundle if two trusted people signed exactly this content.

    `trusted_people` maps a person's C2SP verifier key to the roles the person holds. Raises RecipeRefused: a changed
    file, an unknown signer, a role that the signer does not hold, or an author who approved.
    """
    recipe = _checked_recipe(bundle)
    author, approver = bundle.signatures
    for signature, roles, what in ((author, AUTHOR_ROLES, "author"), (approver, APPROVER_ROLES, "approver")):
        held = trusted_people.get(signature.key)
        if held is None:
            raise RecipeRefused(
                f"Recipe {recipe.reference}: the {what} {signature.signer} is not a signer this place trusts.",
                remedy="Enrol the person's key here, or have the recipe signed by an enrolled person.",
            )
        if signature.role not in held or signature.role not in roles:
            raise RecipeRefused(
                f"Recipe {recipe.reference}: {signature.signer} signed as {what} in the role {signature.role}, "
                "which the signer does not hold here or which is not enough.",
                remedy=f"Roles for it: {', '.join(sorted(roles))}.",
            )
    return recipe


def verify_effective(bundle: RecipeBundle, trusted_people: Mapping[str, Collection[str]], today: str) -> Recipe:
    """Return the recipe of a bundle that may be printed for patients today (ISO date).

    Raises RecipeRefused: all that `verify_bundle` refuses; nobody trusted made it effective; not in force yet, or past its review.
    """
    recipe = verify_bundle(bundle, trusted_people)
    if bundle.effective is None:
        raise RecipeRefused(
            f"Recipe {recipe.reference} is approved, not effective: nobody signed that it may be printed for patients.",
            remedy="Have it made effective, or run it in development mode.",
        )
    check_statement(bundle.effective, recipe, bundle.signatures[0], trusted_people, today)
    return recipe


def verify_development(bundle: DevelopmentRecipe, trusted_people: Mapping[str, Collection[str]]) -> Recipe:
    """Return the recipe of a development run if a trusted process engineer signed exactly this content for it. Raises RecipeRefused."""
    recipe = parse_recipe(bundle.recipe_toml.encode("utf-8"), "The recipe file of the development run")
    _check_solid(bundle, recipe)
    signature = bundle.development
    try:
        verify_signature(signature, digest=recipe.digest)
    except DosewrightError as error:
        raise RecipeRefused(f"Recipe {recipe.reference}, development run: {error.message}", remedy=_SIGN_FOR_DEVELOPMENT) from error
    trusted = signature.role == DEVELOPER_ROLE and DEVELOPER_ROLE in trusted_people.get(signature.key, ())
    if signature.meaning != MEANING_DEVELOPMENT or not trusted:
        raise RecipeRefused(
            f"Recipe {recipe.reference}: {signature.signer} as {signature.role}, meaning {signature.meaning!r}, "
            "does not open a development run here.",
            remedy=_SIGN_FOR_DEVELOPMENT,
        )
    return recipe


def _checked_recipe(bundle: RecipeBundle) -> Recipe:
    recipe = parse_recipe(bundle.recipe_toml.encode("utf-8"), "The recipe file of the bundle")
    _check_solid(bundle, recipe)
    author, approver = bundle.signatures
    for signature, meaning in ((author, MEANING_AUTHOR), (approver, MEANING_APPROVER)):
        if signature.meaning != meaning:
            raise RecipeRefused(
                f"Recipe {recipe.reference}: a signature means {signature.meaning!r}, it should mean {meaning!r}.", remedy=_MAKE_ANEW
            )
        if signature.digest != recipe.digest:
            raise RecipeRefused(
                f"Recipe {recipe.reference} is not the content that {signature.signer} signed: the file was changed after it.",
                remedy=_MAKE_ANEW,
            )
        try:
            verify_signature(signature)
        except DosewrightError as error:
            raise RecipeRefused(
                f"Recipe {recipe.reference}: the signature of {signature.signer} does not verify: {error.message}", remedy=_MAKE_ANEW
            ) from error
    if author.signer == approver.signer or author.key == approver.key:
        raise RecipeRefused(
            f"Recipe {recipe.reference}: {author.signer} signed as author and as approver.", remedy="Another person approves a recipe."
        )
    return recipe


def _check_solid(bundle: RecipeBundle | DevelopmentRecipe, recipe: Recipe) -> None:
    """The STL file is there where the recipe binds one, and is that one."""
    geometry, solid = recipe.geometry, bundle.solid_file
    if not isinstance(geometry, StlSolid):
        if solid is not None:
            raise RecipeRefused(f"Recipe {recipe.reference} binds no STL file, its bundle holds one.", remedy=_MAKE_ANEW)
        return
    if solid is None:
        raise RecipeRefused(f"Recipe {recipe.reference} binds an STL file, its bundle holds none.", remedy=_MAKE_ANEW)
    if hashlib.sha256(solid).hexdigest() != geometry.sha256:
        raise RecipeRefused(f"The STL file of the bundle is not the one that recipe {recipe.reference} binds.", remedy=_MAKE_ANEW)

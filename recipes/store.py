"""Recipe bundles: a recipe file with the signatures of its author and its approver.

A bundle is what travels to a cell. The cell holds its own list of trusted people and believes nothing else: the
signatures must be over the digest of the file as it is, by two different people who hold the roles for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import Field, ValidationError

from audit.errors import DosewrightError
from audit.signatures import Signature, verify_signature
from recipes.errors import RecipeRefused
from recipes.figures import Document, explain
from recipes.lifecycle import APPROVER_ROLES, AUTHOR_ROLES
from recipes.model import Recipe, parse_recipe

MEANING_AUTHOR = "recipe author"
MEANING_APPROVER = "recipe approval"
LARGEST_FILE = 256 * 1024

_MAKE_ANEW = "Have the file as it is signed by its author and by an approver, and send that bundle."


class RecipeBundle(Document):
    """A recipe file (TOML text) with its two signatures, in the order author, approver."""

    recipe_toml: Annotated[str, Field(max_length=LARGEST_FILE)]
    signatures: tuple[Signature, Signature]


def bundle_recipe(recipe_toml: bytes, author: Signature, approver: Signature) -> RecipeBundle:
    """Join a recipe file and two signatures over its digest (`Recipe.digest`).

    Checks form, content and the signatures themselves, not who is trusted: that is for the reader of the bundle.
    Raises RecipeRefused.
    """
    parse_recipe(recipe_toml)
    bundle = RecipeBundle(recipe_toml=recipe_toml.decode("utf-8"), signatures=(author, approver))
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


def _checked_recipe(bundle: RecipeBundle) -> Recipe:
    recipe = parse_recipe(bundle.recipe_toml.encode("utf-8"), "The recipe file of the bundle")
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

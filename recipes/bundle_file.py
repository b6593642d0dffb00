"""The file in which a recipe bundle travels from site to site: text that a person can read, believed for its signatures alone."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import ValidationError

from audit.canonical import canonical
from recipes.errors import RecipeRefused
from recipes.figures import Document, explain
from recipes.store import LARGEST_SOLID, RecipeBundle

LARGEST_BUNDLE_FILE = 1_000_000 + LARGEST_SOLID
_ASK_AGAIN = "Ask the site that signed it for the file as it was exported."


class BundleFile(Document):
    """A bundle in a file. Nothing in it but the signatures is believed; a file has no sender."""

    format: Literal["dosewright-recipe-bundle/1"] = "dosewright-recipe-bundle/1"
    bundle: RecipeBundle


def write_bundle_file(bundle: RecipeBundle) -> bytes:
    """Return the bytes of the file: canonical JSON (RFC 8785)."""
    return canonical(BundleFile(bundle=bundle).as_record())


def read_bundle_file(data: bytes) -> RecipeBundle:
    """Read a file; the signatures are for `recipes.store` to check. Raises RecipeRefused naming what is wrong with its form."""
    if len(data) > LARGEST_BUNDLE_FILE:
        raise RecipeRefused(f"The file has {len(data)} bytes; no recipe bundle is that large.", remedy=_ASK_AGAIN)
    try:
        return BundleFile.model_validate(json.loads(data)).bundle
    except ValidationError as error:
        raise RecipeRefused(f"The file is not a recipe bundle: {explain(error)}.", remedy=_ASK_AGAIN) from error
    except (ValueError, RecursionError) as error:
        raise RecipeRefused(f"The file is not a recipe bundle: it is not JSON ({error}).", remedy=_ASK_AGAIN) from error

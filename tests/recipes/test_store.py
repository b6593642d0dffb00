"""Recipe bundles: who signed, what was signed, and every way in which that can be wrong."""

import pytest
from shape_cases import with_a_solid

from audit.checkpoint import SigningKey
from audit.signatures import sign_with_key
from recipes.errors import RecipeRefused
from recipes.library import load_recipe, recipe_bytes
from recipes.model import parse_recipe
from recipes.store import MEANING_APPROVER, MEANING_AUTHOR, RecipeBundle, bundle_recipe, read_bundle, verify_bundle

TOML = recipe_bytes("cyclophosphamide")
RECIPE = load_recipe("cyclophosphamide")
KEYS = {name: SigningKey.from_seed(f"site.example/{name}", bytes([n]) * 32) for n, name in enumerate(["erin", "quinn", "mallory"])}
TRUSTED = {KEYS["erin"].verifier_key: {"process_engineer", "quality_assurance"}, KEYS["quinn"].verifier_key: {"quality_assurance"}}


def signed(person, meaning, role, digest=RECIPE.digest):
    return sign_with_key(
        KEYS[person],
        signer=person,
        name=person.title(),
        role=role,
        meaning=meaning,
        digest=digest,
        at="2026-11-20T12:00:00.000000Z",
        zone="UTC",
        scripted=True,
    )


AUTHOR = signed("erin", MEANING_AUTHOR, "process_engineer")
APPROVER = signed("quinn", MEANING_APPROVER, "quality_assurance")


def test_a_signed_recipe_is_believed():
    bundle = bundle_recipe(TOML, AUTHOR, APPROVER)
    assert verify_bundle(bundle, TRUSTED) == RECIPE
    assert verify_bundle(read_bundle(bundle.as_record()), TRUSTED).digest == RECIPE.digest


def test_a_comment_may_change_a_value_may_not():
    commented = RecipeBundle(recipe_toml="# note\n" + TOML.decode(), signatures=(AUTHOR, APPROVER))
    assert verify_bundle(commented, TRUSTED) == RECIPE
    changed = RecipeBundle(recipe_toml=TOML.decode().replace('maximum = "40 mg"', 'maximum = "400 mg"'), signatures=(AUTHOR, APPROVER))
    with pytest.raises(RecipeRefused, match="changed after"):
        verify_bundle(changed, TRUSTED)


@pytest.mark.parametrize(
    ("author", "approver", "words"),
    [
        (
            signed("erin", MEANING_AUTHOR, "process_engineer"),
            signed("erin", MEANING_APPROVER, "quality_assurance"),
            "as author and as approver",
        ),
        (signed("mallory", MEANING_AUTHOR, "process_engineer"), APPROVER, "not a signer this place trusts"),
        (AUTHOR, signed("mallory", MEANING_APPROVER, "quality_assurance"), "not a signer this place trusts"),
        (AUTHOR, signed("quinn", MEANING_APPROVER, "qualified_person"), "in the role qualified_person"),
        (AUTHOR, signed("quinn", MEANING_APPROVER, "operator"), "in the role operator"),
        (signed("erin", MEANING_AUTHOR, "quality_assurance"), APPROVER, "in the role quality_assurance"),
        (APPROVER, AUTHOR, "should mean"),
        (AUTHOR, signed("quinn", MEANING_AUTHOR, "quality_assurance"), "should mean"),
        (AUTHOR, signed("quinn", MEANING_APPROVER, "quality_assurance", "0" * 64), "changed after"),
        (AUTHOR, APPROVER.model_copy(update={"at": "2026-11-21T12:00:00.000000Z"}), "does not verify"),
        (AUTHOR.model_copy(update={"signer": "robin"}), APPROVER, "does not verify"),
        (AUTHOR.model_copy(update={"key": KEYS["quinn"].verifier_key}), APPROVER, "does not verify"),
    ],
)
def test_wrong_signatures_are_refused(author, approver, words):
    with pytest.raises(RecipeRefused, match=words) as refusal:
        verify_bundle(RecipeBundle(recipe_toml=TOML.decode(), signatures=(author, approver)), TRUSTED)
    assert refusal.value.remedy


def test_nobody_is_trusted_by_default():
    with pytest.raises(RecipeRefused, match="not a signer"):
        verify_bundle(bundle_recipe(TOML, AUTHOR, APPROVER), {})


def test_a_bundle_is_not_made_from_wrong_parts():
    with pytest.raises(RecipeRefused, match="should mean"):
        bundle_recipe(TOML, APPROVER, AUTHOR)
    with pytest.raises(RecipeRefused):
        bundle_recipe(b"\xff", AUTHOR, APPROVER)


@pytest.mark.parametrize("change", [{"signatures": []}, {"more": 1}, {"recipe_toml": "x" * 300_000}, {"recipe_toml": None}])
def test_a_bundle_of_a_wrong_form_is_refused(change):
    with pytest.raises(RecipeRefused, match="not the right form"):
        read_bundle(bundle_recipe(TOML, AUTHOR, APPROVER).as_record() | change)


def test_a_recipe_travels_with_the_solid_that_it_binds():
    toml, solid = with_a_solid(TOML)
    recipe = parse_recipe(toml)
    signatures = (
        signed("erin", MEANING_AUTHOR, "process_engineer", recipe.digest),
        signed("quinn", MEANING_APPROVER, "quality_assurance", recipe.digest),
    )
    bundle = bundle_recipe(toml, *signatures, solid=solid)
    again = read_bundle(bundle.as_record())
    assert verify_bundle(again, TRUSTED) == recipe
    assert again.solid_file == solid
    assert "solid" not in bundle_recipe(TOML, AUTHOR, APPROVER).as_record()
    for held, said in ((None, "holds none"), (solid + b"\0", "not the one"), (solid[:-1], "not the one")):
        with pytest.raises(RecipeRefused, match=said):
            bundle_recipe(toml, *signatures, solid=held)
    with pytest.raises(RecipeRefused, match="binds no STL file"):
        bundle_recipe(TOML, AUTHOR, APPROVER, solid=solid)
    with pytest.raises(RecipeRefused, match="base64"):
        verify_bundle(again.model_copy(update={"solid": "not base64!"}), TRUSTED)

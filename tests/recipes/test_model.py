"""Documents: strict reading, units in the text, sources of every figure, digests."""

from decimal import Decimal

import pytest
from pydantic import ValidationError

from audit.quantities import Celsius, Microlitre, Milligram, Percent
from recipes.errors import RecipeRefused
from recipes.figures import Parameter, numeric_leaves, read_toml, source_of
from recipes.library import load_demonstration, load_machine, load_recipe, machine_ids, recipe_bytes, recipe_ids
from recipes.model import Cartridge, Cylinder, DoseOrder, InkLot, MachineProfile, Prescription, Recipe, parse_machine, parse_recipe

TEXT = recipe_bytes("cyclophosphamide").decode()


def changed(old, new):
    assert old in TEXT
    return TEXT.replace(old, new).encode()


def test_comments_and_order_do_not_change_the_digest():
    lines = TEXT.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("id ="))
    lines[first], lines[first + 1] = lines[first + 1], lines[first]
    assert parse_recipe(("# another comment\n" + "\n".join(lines)).encode()).digest == load_recipe("cyclophosphamide").digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('maximum = "40 mg"', 'maximum = "40.5 mg"'),
        ("version = 1", "version = 2"),
        ('pressure_high = "400 kPa"', 'pressure_high = "401 kPa"'),
        ("dedicated_cell = true", "dedicated_cell = false"),
        ("Cytotoxic: handle with gloves.", "Cytotoxic: handle with two pairs of gloves."),
    ],
)
def test_a_changed_value_changes_the_digest(old, new):
    assert parse_recipe(changed(old, new)).digest != load_recipe("cyclophosphamide").digest


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("version = 1", "version = 1\nverion = 2", "verion: unknown key"),
        ('grid = "0.5 mg"', 'grid = "0.5 mg"\ngrit = "0.5 mg"', "dose.grit: unknown key"),
        ('grid = "0.5 mg"', 'grid = "0.5 g"', "dose.grid"),
        ('grid = "0.5 mg"', "grid = 0.5", "dose.grid"),
        ('grid = "0.5 mg"', 'grid = "0.5"', "found no unit"),
        ('grid = "0.5 mg"', 'grid = "0,5 mg"', "comma"),
        ('grid = "0.5 mg"', 'grid = "-0.5 mg"', "above zero"),
        ('grid = "0.5 mg"', 'grid = "3 mg"', "not a multiple of the grid"),
        ("version = 1", 'version = "1"', "version"),
        ("version = 1", "version = true", "version"),
        ('height_to_diameter = "0.4"', "height_to_diameter = 0.4", "as text"),
        ('set_point = "7.0 uL/s"', 'set_point = "9.5 uL/s"', "must lie between"),
        ("demonstration, not for clinical use", "for clinical use", "status_text"),
        ('bsa_formula = "mosteller"', 'bsa_formula = "own"', "bsa_formula"),
        ('bsa_formula = "mosteller"\n', "", "bsa_formula belongs"),
        ('minimum = "5 mg"', 'minimum = "45 mg"', "above maximum"),
        ('from_mass = "0 mg"', 'from_mass = "10 mg"', "first band starts at 0 mg"),
        ('process = "SSE"', 'process = "dispense"', "goes with geometry"),
        ('pressure_low_while_extruding = "40 kPa"', 'pressure_low_while_extruding = "400 kPa"', "must be below"),
        ('"weighing" = "illustrative"\n', "", "no source for weighing.drift_limit"),
        ('"weighing" = "illustrative"', '"weighing" = " "', "no source for weighing"),
        ('"weighing" = "illustrative"', '"weighing" = "illustrative"\n"weigh" = "x"', "names weigh,"),
        ("version = 1", "version = = 1", "not a readable TOML file"),
    ],
)
def test_a_wrong_recipe_file_is_refused_with_the_place(old, new, words):
    with pytest.raises(RecipeRefused) as refusal:
        parse_recipe(changed(old, new), "x.toml")
    assert words in str(refusal.value)
    assert "x.toml" in str(refusal.value)
    assert refusal.value.remedy


def test_bytes_that_are_not_text_are_refused():
    with pytest.raises(RecipeRefused):
        parse_recipe(b"\xff\xfe")
    with pytest.raises(RecipeRefused):
        parse_machine(b"id = 1")


DOCUMENTS = [load_recipe(name) for name in recipe_ids()] + [load_machine(name) for name in machine_ids()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.reference)
def test_every_figure_has_a_source(document):
    leaves = [leaf for leaf in numeric_leaves(document) if leaf != "version"]
    assert len(leaves) > 25
    for leaf in leaves:
        assert source_of(leaf, document.sources), leaf


def test_a_more_exact_source_wins():
    sources = {"ink": "illustrative", "ink.strength.set_point": "a study"}
    assert source_of("ink.strength.set_point", sources) == "a study"
    assert source_of("ink.strength.low", sources) == "illustrative"
    assert source_of("inks", sources) is None


def test_values_are_frozen_and_ranges_include_their_ends():
    recipe = load_recipe("sildenafil")
    with pytest.raises(ValidationError):
        recipe.version = 2
    warm = Parameter[Celsius](set_point=Celsius(60), low=Celsius(57), high=Celsius(63))
    assert [warm.holds(Celsius(t)) for t in ("56.9", "57", "63", "63.1")] == [False, True, True, False]


@pytest.mark.parametrize(("mass", "percent"), [("1", "7.5"), ("249.99", "7.5"), ("250", "5"), ("400", "5")])
def test_tolerance_band_of_a_mass(mass, percent):
    assert load_recipe("sildenafil").tolerance(Milligram(mass)) == Percent(percent)


def test_records_read_back_to_the_same_digest():
    prescription, ink, cartridge = load_demonstration("hydrocortisone", "2026-11-20")
    recipe = load_recipe("hydrocortisone")
    order = DoseOrder.create("O-1", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
    for kind, document in (
        (Recipe, recipe),
        (MachineProfile, load_machine("fdm-0.4")),
        (InkLot, ink),
        (Cartridge, cartridge),
        (Prescription, prescription),
        (DoseOrder, order),
    ):
        again = kind.model_validate(document.as_record())
        assert again == document
        assert again.digest == document.digest


def test_an_order_binds_recipe_ink_cartridge_and_prescription():
    recipe = load_recipe("cyclophosphamide")
    prescription, ink, cartridge = load_demonstration("cyclophosphamide", "2026-11-20")
    parts = {"recipe": recipe, "ink": ink, "cartridge": cartridge, "prescription": prescription}
    order = DoseOrder.create("O-1", **parts)
    assert order.sha256 == DoseOrder.create("O-1", **parts).sha256
    others = {
        "recipe": recipe.model_copy(update={"version": 2}),
        "ink": InkLot.model_validate(ink.as_record() | {"assay": "40.1 mg/g"}),
        "cartridge": Cartridge.model_validate(cartridge.as_record() | {"filled": "9400 uL"}),
        "prescription": Prescription.model_validate(prescription.as_record() | {"weight": "18.1 kg"}),
    }
    digests = {DoseOrder.create("O-1", **(parts | {name: other})).sha256 for name, other in others.items()}
    assert len(digests | {order.sha256, DoseOrder.create("O-2", **parts).sha256}) == 6


@pytest.mark.parametrize(
    "change",
    [{"height": "0 cm"}, {"weight": "-1 kg"}, {"prescribed": "0 mg/m2"}, {"days": 0}, {"days": "14"}, {"schedule": []}, {"patient": "A B"}],
)
def test_impossible_prescriptions_are_not_made(change):
    prescription, _, _ = load_demonstration("cyclophosphamide", "2026-11-20")
    with pytest.raises(ValidationError):
        Prescription.model_validate(prescription.as_record() | change)


def test_a_cartridge_cannot_have_given_more_than_it_held():
    _, _, cartridge = load_demonstration("cyclophosphamide", "2026-11-20")
    assert Cartridge.model_validate(cartridge.as_record() | {"used": "500 uL"}).remaining == Microlitre(9000)
    with pytest.raises(ValidationError):
        Cartridge.model_validate(cartridge.as_record() | {"used": "9501 uL"})


def test_a_bare_number_may_be_a_decimal_or_text_and_a_volume_not_negative():
    ratio = Cylinder(family="cylinder", height_to_diameter=Decimal("0.4"))
    assert ratio == Cylinder(family="cylinder", height_to_diameter="0.4")
    _, _, cartridge = load_demonstration("cyclophosphamide", "2026-11-20")
    with pytest.raises(ValidationError, match="must not be negative"):
        Cartridge.model_validate(cartridge.as_record() | {"used": "-1 uL"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"first_x": "5 mm"}, "leaves the envelope"),
        ({"rows": 8}, "leaves the envelope"),
        ({"largest_unit_diameter": "25 mm"}, "pitch"),
    ],
)
def test_plate_must_fit_the_machine(change, words):
    record = load_machine("sse-20g-10ml").as_record()
    with pytest.raises(ValidationError, match=words):
        MachineProfile.model_validate(record | {"plate": record["plate"] | change})


@pytest.mark.parametrize("spot", ["park", "purge"])
def test_park_and_purge_lie_in_the_envelope(spot):
    record = load_machine("sse-20g-10ml").as_record()
    with pytest.raises(ValidationError, match=spot):
        MachineProfile.model_validate(record | {spot: {"x": "201 mm", "y": "1 mm", "z": "1 mm"}})


@pytest.mark.parametrize("content", [b"a = " + b"[" * 5000, b"a = " + b"1" * 5000, b"a = ", b"\xff"])
def test_a_file_that_cannot_be_read_is_refused_whatever_stands_in_it(content):
    with pytest.raises(RecipeRefused, match="not a readable TOML file"):
        read_toml(content, "recipe.toml")

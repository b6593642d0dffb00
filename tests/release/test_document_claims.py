"""On paper nothing complies with 2.9.40: whatever the units are like, the document says *would comply if tested* at most."""

from __future__ import annotations

import io
import re
from decimal import Decimal
from typing import Any

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.canonical import JsonObject, canonical
from audit.release.claims import Basis, evaluate
from audit.release.document import render_record
from audit.release.document_details import full_record
from audit.release.document_summary import SHORT_CLAIM, claims, summary
from audit.release.document_text import printable
from audit.release.small_batch import Prior
from audit.release.uniformity import DosageForm

SAYS = re.compile(r"\b(?:compl(?:y|ies|ied|iant|iance|ying)|conform\w*|pass(?:es|ed)?|meets?|met)\b", re.IGNORECASE)


def wrong(text: str) -> list[str]:
    """Return the sentences that state compliance with 2.9.40 or 2.9.47 as a fact."""
    found: list[str] = []
    for match in SAYS.finditer(text):
        before, after = text[max(0, match.start() - 90) : match.start()], text[match.end() : match.end() + 220]
        if match[0].lower() == "met" and "criterion of Ph. Eur. 2.9.5 is" in before:
            continue  # 2.9.5 is on masses as weighed, and may be stated
        conditional = re.search(r"would (?:not )?(?:be )?$", before) and "if tested" in after
        if not conditional:
            found.append(text[max(0, match.start() - 90) : match.end() + 60])
    return found


def texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for item in items for text in texts(item)]


bases = st.builds(
    Basis,
    form=st.sampled_from(list(DosageForm)),
    active_mg=st.sampled_from([None, Decimal(5), Decimal(30), Decimal(200)]),
    unit_mass_mg=st.sampled_from([None, Decimal(100), Decimal(467)]),
    validated_rsd=st.sampled_from([None, Decimal("1.2"), Decimal("3.4")]),
    certificate_rsd=st.sampled_from([None, Decimal("1.1")]),
    assay_expanded_percent=st.sampled_from([None, Decimal(1)]),
    prior=st.sampled_from([None, Prior(Decimal(100), Decimal(2), 10, Decimal(5), "20 earlier batches")]),
    real_time=st.booleans(),
)
sizes = st.sampled_from([0, 1, 2, 3, 9, 10, 11, 20, 30, 31, 400])


@settings(max_examples=300, deadline=None)
@given(basis=bases, n=sizes, centre=st.sampled_from([92, 100, 101, 109]), spread=st.sampled_from([0, 1, 3, 9, 30]))
def test_no_text_of_any_claim_path_states_compliance(basis: Basis, n: int, centre: int, spread: int) -> None:
    values = [Decimal(centre) + Decimal(spread) * (Decimal((7 * i) % 11) - 5) / 5 for i in range(n)]
    result = evaluate(values, [value * 4 for value in values], basis).as_record()
    row: JsonObject = {"strength_mg": "18.5", "uniformity": result, "uniformity_all": result}
    record: JsonObject = {"strengths": [row], "disposition": "released"}
    shown = [text for part in (claims([row]), summary(record, "released"), full_record(record)) for text in texts(printable(part))]
    assert not [sentence for text in shown for sentence in wrong(text)]
    if "would comply if tested" in str(result["claim"]):
        assert any("would comply if tested, by real-time release on mass" in text for text in shown) is basis.real_time
        assert any("would comply if tested, on the mass of every unit" in text for text in shown) is not basis.real_time


@pytest.mark.parametrize(
    "text", ["complies with Ph. Eur. 2.9.40", "the batch conforms", "would comply with 2.9.40", "2.9.47 is met", "passes 2.9.40"]
)
def test_the_check_of_this_file_sees_what_it_looks_for(text: str) -> None:
    assert wrong(text)


def test_the_words_of_the_template_and_of_the_short_form_state_none(write_batch: Any, scenario: Any, unit: Any) -> None:
    assert not wrong(SHORT_CLAIM)
    record = write_batch(scenario(units=tuple(unit("467.2") for _ in range(10)), disposition=None, rsd="1.0")).record()
    pages = pypdf.PdfReader(io.BytesIO(render_record(record, canonical(record)))).pages
    paper = " ".join(" ".join(page.extract_text() for page in pages).split())
    # The state of an item of evidence is the word *met*, in a column of its own before its finding.
    stated = [sentence for sentence in wrong(paper.replace(" met acceptance value", " acceptance value")) if "2.9.4" in sentence]
    assert not stated and "2.9.40" in paper

"""A label as a document of its own size: PDF to print, SVG and PNG to look at, all by typst from one template.

Every text is data, never markup. The symbol is drawn as a vector, 0.38 mm a module: within the range for healthcare items (0.254 to
0.615 mm, GS1 General Specifications 24.0, symbol specification table 6).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Literal

import typst

from api.interop.data_matrix import QUIET_ZONE, modules, svg
from audit.canonical import JsonValue
from audit.errors import LabelRefused
from audit.release.label import Label

WIDTH_MM, HEIGHT_MM = 100, 70
_MODULE_MM = Decimal("0.38")
_LINE = 19
PREVIEW = "PREVIEW, NOT A LABEL"
Form = Literal["pdf", "svg", "png"]


@dataclass(frozen=True, slots=True)
class PrintJob:
    """What only the print knows beside the label: who the patient is, which copy it is, and its mark.

    `patient`: the lines that name the patient. `mark`: random text that the file holds and the trail does not, so that nobody finds
    the patient by trying names against the digest of the file. `preview`: crossed out as no label.
    """

    patient: tuple[str, ...]
    copy: int
    mark: str
    preview: bool = False


def render(label: Label, job: PrintJob, form: Form = "pdf") -> bytes:
    """Return the label. Raises LabelRefused where its texts do not fit at 6 pt, or hold a character that the fonts have not."""
    with tempfile.TemporaryDirectory(prefix="dosewright-label-") as folder:
        root = Path(folder)
        (root / "label.typ").write_bytes(resources.files("api.interop").joinpath("label.typ").read_bytes())
        (root / "code.svg").write_bytes(svg(label.code))
        (root / "data.json").write_text(json.dumps(_data(label, job), ensure_ascii=False), encoding="utf-8")
        try:
            if form == "pdf":
                return typst.compile(root / "label.typ", root=root, ignore_system_fonts=True, pdf_standards=["a-2b"], timestamp=0)
            drawn = typst.compile(root / "label.typ", root=root, ignore_system_fonts=True, format=form, ppi=300.0)
        except typst.TypstError as error:
            raise LabelRefused([_cause(error)], remedy="Shorten the recipe's texts in a new version.") from error
    return drawn[0] if isinstance(drawn, list) else drawn


def _cause(error: typst.TypstError) -> str:
    text = str(error.message)
    return "its texts do not fit on it" if "do not fit" in text else f"it could not be typeset: {text}"


def _data(label: Label, job: PrintJob) -> dict[str, JsonValue]:
    across = [*([label.crossed] if label.crossed else []), *([PREVIEW] if job.preview and not label.crossed else [])]
    return {
        "title": f"Label {label.pack}",
        "mark": job.mark,
        "width": WIDTH_MM,
        "height": HEIGHT_MM,
        "code_size": str((len(modules(label.code)) + 2 * QUIET_ZONE) * _MODULE_MM),
        "code": list(broken_code(code_texts(label, job), _LINE)),
        "patient": list(job.patient),
        "strengths": list(label.strengths),
        "product": label.product,
        "quantity": f"{label.quantity}, {label.route} use",
        "intake": label.intake,
        "directions": label.directions,
        "warnings": list(label.warnings),
        "lines": lines(label),
        "use_by": f"Use by {label.use_by}",
        "lot": f"Batch {label.batch}   Pack {label.pack}" + (" (preview)" if job.preview else ""),
        "pharmacy": ", ".join(label.pharmacy),
        "across": across,
        "crossed": label.crossed is not None or job.preview,
    }


def lines(label: Label) -> list[JsonValue]:
    """Return storage, excipients, prescriber and the words of the law, as both forms of a label have them."""
    named = (("Contains", label.excipients), ("Prescribed by", label.prescriber))
    return [label.storage, *(f"{name}: {text}" for name, text in named if text), ". ".join(label.legal)]


def code_texts(label: Label, job: PrintJob) -> list[str]:
    """Return the human-readable interpretation of the symbol, element string by element string, and which copy it is after the first."""
    return [f"({ai}){value}" for ai, value in label.code.fields] + ([] if job.copy <= 1 else [f"copy {job.copy}"])


def broken_code(texts: Sequence[str], longest: int) -> list[str]:
    """Return these texts in lines of at most this many characters."""
    return [text[start : start + longest] for text in texts for start in range(0, len(text), longest)]

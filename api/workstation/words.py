"""What the pages say, in the language of the person who looks at them.

The English text is the key. Words of the record (entries, reasons that people typed, identifiers) are never translated.
"""

from __future__ import annotations


def said(text: str, **values: object) -> str:
    """Return a text of a page in the visitor's language, its `{names}` replaced by `values`."""
    return text.format(**values) if values else text

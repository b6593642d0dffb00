"""A QR code as SVG, drawn here: a secret is never sent to a service that draws codes."""

from __future__ import annotations

from pystrich.qrcode import QRCodeEncoder

_QUIET = 4
"""Modules of light margin (ISO/IEC 18004)."""


def qr_svg(text: str) -> str:
    """Return a QR code of the text, dark on light whatever the page's colours are."""
    matrix = QRCodeEncoder(text).matrix
    side = len(matrix) + 2 * _QUIET
    marks = "".join(f"M{x + _QUIET} {y + _QUIET}h1v1h-1z" for y, row in enumerate(matrix) for x, dark in enumerate(row) if dark)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" width="220" height="220" role="img" '
        'aria-label="QR code of the secret" shape-rendering="crispEdges">'
        f'<rect width="{side}" height="{side}" fill="#fff"/><path d="{marks}" fill="#000"/></svg>'
    )

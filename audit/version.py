"""The version that every record names."""

from __future__ import annotations

__version__ = "0.1.0"
SOFTWARE = f"dosewright {__version__}"

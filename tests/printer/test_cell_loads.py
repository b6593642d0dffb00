"""What a cell's process loads: no web framework, and no numerical start-up before its port is open."""

from __future__ import annotations

import subprocess
import sys


def test_a_cell_loads_neither_fastapi_nor_nicegui() -> None:
    code = "import sys, printer.wiring_cell; print(sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'printer'" in loaded
    for name in ("fastapi", "nicegui", "starlette", "uvicorn", "typer", "hil_tests", "api"):
        assert f"'{name}'" not in loaded

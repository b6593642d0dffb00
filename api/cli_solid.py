"""`dosewright solid`: whether an STL file can be printed, and what a recipe states to bind it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api import completions
from api.cli_options import AsJson, print_json
from api.errors import InputInvalid


def content_of(file: Path) -> bytes:
    """Read an STL file, none that is larger than any that is printed. Raises InputInvalid, SolidFileRefused."""
    from recipes.stl_file import LARGEST_FILE, check_size

    try:
        # By its size alone, before a byte is read; and no more is read than that, should it grow.
        check_size(file.stat().st_size, file.name)
        with file.open("rb") as stream:
            return stream.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputInvalid(f"{file} cannot be read: {error.strerror}.", remedy="Name an STL file that you may read.") from None


def solid(
    file: Annotated[Path, typer.Argument(help="An STL file, in mm.", autocompletion=completions.solids)], as_json: AsJson = False
) -> None:
    """Check an STL file and print the table that a recipe states of it. Nothing is stored or printed."""
    from recipes.errors import SolidFileRefused  # numerical kernels load only when a file is judged
    from recipes.stl_solid import implausible, read_solid

    found = read_solid(content_of(file), file.name).measures
    if reasons := implausible(found):
        raise SolidFileRefused([f"{file.name}: {reason}" for reason in reasons], remedy="Export the solid anew in mm.")
    sizes = {name: f"{getattr(found, name):.3f}" for name in ("length", "width", "height", "reach")}
    if as_json:
        lengths = {f"{name}_mm": size for name, size in sizes.items()}
        print_json({"sha256": found.sha256, **lengths, "volume_uL": f"{found.volume:.3f}", "facets": found.facets})
        return
    print("[geometry]")
    print('family = "stl"')
    print(f'sha256 = "{found.sha256}"')
    for name, size in sizes.items():
        print(f'{name} = "{size} mm"')
    print(f'volume = "{found.volume:.3f} uL"')
    print('scale = "uniform"     # or "height": the plan as it is')
    print("perimeters = 2")
    print(f"# {found.facets} facets; state bounds, and the source of these figures under [sources]")

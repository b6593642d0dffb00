"""Every page of the list has its pictures in docs/, and the page that shows them is the one that follows from the list."""

from __future__ import annotations

import pytest
from scenes import FOLDER, PAGE, SCHEMES, SIZES, all_scenes, file_name, page_text

_MOST_BYTES = 6_000_000


@pytest.mark.parametrize("name", [scene.name for scene in all_scenes()])
def test_every_page_has_a_picture_in_each_size_and_scheme(name: str) -> None:
    for width, _ in SIZES:
        for scheme in SCHEMES:
            path = FOLDER / file_name(name, width, scheme)
            assert path.exists(), f"{path.name} is missing: run `make pictures`"
            data = path.read_bytes()
            assert (data[:4], data[8:12]) == (b"RIFF", b"WEBP")


def test_the_page_of_pages_follows_from_the_list_and_the_folder_stays_small() -> None:
    assert PAGE.read_text(encoding="utf-8") == page_text(), "run `make pictures`"
    known = {file_name(scene.name, width, scheme) for scene in all_scenes() for width, _ in SIZES for scheme in SCHEMES}
    found = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert set(found) == known
    assert sum(found.values()) < _MOST_BYTES

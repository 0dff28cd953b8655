"""Sites loaded once, and SUMO started and ended for one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bitgoeul.sim_scenarios.catalog import SITES_FOLDER, Site, load_site

SHIPPED = ("bukmun_5", "bukmun_5_zone")


@pytest.fixture(scope="session", params=SHIPPED)
def site(request: pytest.FixtureRequest) -> Site:
    return load_site(request.param)


@pytest.fixture(scope="session")
def bukmun() -> Site:
    return load_site("bukmun_5")


@pytest.fixture
def site_copy(tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of a copy of bukmun_5 in which one text of one file is replaced."""

    def copy(file: str = "", old: str = "", new: str = "") -> Path:
        folder = tmp_path / "copy"
        folder.mkdir()
        for source in (SITES_FOLDER / "bukmun_5").iterdir():
            text = source.read_text(encoding="utf-8")
            if source.name == file:
                assert old in text
                text = text.replace(old, new, 1)
            (folder / source.name).write_text(text, encoding="utf-8")
        return folder

    return copy


@pytest.fixture
def start_sumo() -> Iterator[Callable[[list[str]], Any]]:
    """Return a starter of libsumo; the simulation is closed after the test."""
    libsumo = pytest.importorskip("libsumo")
    started: list[bool] = []

    def start(arguments: list[str]) -> Any:
        libsumo.start(["sumo", *arguments])
        started.append(True)
        return libsumo

    yield start
    if started:
        libsumo.close()

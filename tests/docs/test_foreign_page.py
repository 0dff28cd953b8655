"""The page on other people's networks: its code runs as it stands."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.sumo
PAGE = (Path(__file__).parents[2] / "docs" / "foreign-networks.md").read_text(encoding="utf-8")


def test_the_code_on_the_page_runs(tmp_path, monkeypatch, capsys):
    package = importlib.util.find_spec("sumo_rl")
    assert package is not None
    folder = Path(package.submodule_search_locations[0]) / "nets" / "single-intersection"
    shutil.copyfile(folder / "single-intersection.net.xml", tmp_path / "your.net.xml")
    shutil.copyfile(folder / "single-intersection.rou.xml", tmp_path / "your.rou.xml")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "foreign-networks.md", "exec"), names)
    assert names["info"]["elapsed_s"] > 0.0
    assert "phase 4" in capsys.readouterr().out

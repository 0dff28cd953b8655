"""Fixtures of the comparison's tests: fake runs that worker processes can import too."""

from pathlib import Path

import pytest


@pytest.fixture
def fake_runs(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import fake_runs

    return fake_runs

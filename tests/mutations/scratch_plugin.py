"""A pytest plugin for mutated copies: it checks that the copy is what is tested, and keeps the tests short.

Loaded by `check.py` with `-p scratch_plugin`, never in an ordinary run.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

import bitgoeul.controller

ELSEWHERE = 97
"""Exit status of a session whose `bitgoeul.controller` is not the copy."""


def pytest_configure(config):
    copy = Path(os.environ["BITGOEUL_MUTATED_COPY"]).resolve()
    found = Path(bitgoeul.controller.__file__).resolve()
    if not found.is_relative_to(copy):
        pytest.exit(f"{found} is tested, not the copy in {copy}", returncode=ELSEWHERE)


def pytest_collection_modifyitems(items):
    """Let every law try a few examples only, whatever it asks for itself."""
    most = int(os.environ["BITGOEUL_MUTATION_EXAMPLES"])
    for item in items:
        law = getattr(item, "obj", None)
        given = getattr(law, "_hypothesis_internal_use_settings", None)
        if given is not None and given.max_examples > most:
            law._hypothesis_internal_use_settings = settings(given, max_examples=most, derandomize=True)

"""Hypothesis profiles: `ci` repeats itself and is quick, `long` searches widely."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Two cores under load make wall-clock deadlines of single examples meaningless.
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=50)
settings.register_profile(
    "long", deadline=None, max_examples=5_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("BITGOEUL_HYPOTHESIS", "ci"))

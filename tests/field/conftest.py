"""Lets these tests import the broker and the messages beside this file, and starts the broker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory, request):
    from mosquitto import Mosquitto

    broker = Mosquitto(tmp_path_factory.mktemp("broker"), request.module.SITE)
    broker.start()
    yield broker
    broker.stop()

"""Whatever a recording's file holds: it is read, or refused with one line that names it."""

from __future__ import annotations

import gzip

from hypothesis import given
from hypothesis import strategies as st
from made_messages import NOON_MS, payload, picture

from bitgoeul.controller.catalogs import find_plan
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.inbox import Arrival
from bitgoeul.controller.recording import PlayedSource, Recorder, read_recording

PLAN = find_plan("bukmun_5")


def whole(folder, name):
    path = folder / name
    with Recorder(path, "bukmun_5", started_ms=NOON_MS, started_ds=0.0) as recorder:
        for index in range(8):
            message = picture(sequence=index, measured_ms=NOON_MS + index)
            recorder.write(
                Arrival("bitgoeul/v1/bukmun_5/cam/detections", payload(message), NOON_MS + 5, index)
            )
    return path.read_bytes()


def check(path, content):
    path.write_bytes(content)
    refusals = []
    try:
        recording = read_recording(path)
    except ScenarioError as refusal:
        refusals.append(str(refusal))
    if refusals:
        assert refusals[0].startswith(f"{path}: ")
        return
    played = PlayedSource(recording, PLAN)
    assert len(played.frames(played.starts_ds)) == 4


@given(content=st.binary(max_size=600), name=st.sampled_from(["it.jsonl", "it.jsonl.gz"]))
def test_any_bytes(tmp_path_factory, content, name):
    check(tmp_path_factory.mktemp("any") / name, content)
    check(tmp_path_factory.mktemp("any") / "it.jsonl.gz", gzip.compress(content))


@given(
    at=st.floats(0, 1), cut=st.booleans(), noise=st.binary(max_size=4),
    name=st.sampled_from(["it.jsonl", "it.jsonl.gz"]),
)  # fmt: skip
def test_a_damaged_recording(tmp_path_factory, at, cut, noise, name):
    folder = tmp_path_factory.mktemp("damaged")
    content = whole(folder, name)
    place = int(at * len(content))
    check(folder / name, content[:place] + noise + (b"" if cut else content[place + len(noise) :]))

"""Pictures and panels of a running junction: what they show, and that they change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from bitgoeul.envs.render import Renderer, make_renderer
from bitgoeul.envs.render_panel import LAMP, LEVEL, clock_words, text_panel
from bitgoeul.envs.status import JunctionStatus, PhaseStatus, StatusReader, need_level
from bitgoeul.envs.world import RunSpec, build_driver, simulation
from bitgoeul.sim_scenarios.catalog import load_site

pytestmark = pytest.mark.sumo

SITE = load_site("bukmun_5")


@pytest.fixture
def running():
    spec = RunSpec(site="bukmun_5", controller="actuated+guard", seed=1, hour="peak", minutes=10)
    with simulation(spec, SITE) as opened:
        yield build_driver(spec, SITE, opened.connection)


def step_until(driver, is_reached, limit_s=600):
    while not is_reached() and driver.now_ds < limit_s * 10:
        driver.step()
    assert is_reached(), f"not reached within {limit_s} s"


def shows(frame, colour):
    return int((np.abs(frame.astype(int) - np.array(colour)).max(axis=2) <= 6).sum())


def map_of(frame):
    return frame[len(frame) // 16 : -(len(frame) * 265 // 1000) - 40]


def test_a_frame_is_a_picture_without_any_display(running, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    frame = make_renderer(SITE, running).rgb_array()
    assert frame.shape == (800, 800, 3)
    assert frame.dtype == np.uint8
    assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 100
    assert make_renderer(SITE, running, size_px=480).rgb_array().shape == (480, 480, 3)


def test_lamps_at_the_stop_lines_change_with_the_phase(running):
    renderer = make_renderer(SITE, running)

    def frame_when(lamp):
        shown = running.loop.observed.snapshot
        step_until(running, lambda: getattr(running.loop.observed.snapshot.lamps, lamp) != 0)
        assert shown is not running.loop.observed.snapshot
        return map_of(renderer.rgb_array())

    green = frame_when("green")
    assert shows(green, LAMP["green"]) > 30
    assert shows(green, LAMP["yellow"]) == 0
    yellow = frame_when("yellow")
    assert shows(yellow, LAMP["yellow"]) > 30
    assert shows(yellow, LAMP["green"]) < shows(green, LAMP["green"])
    assert shows(green, LAMP["red"]) > 30, "the other movements wait at red"


def test_a_walker_on_a_crossing_appears_and_rings_tell_the_need(running):
    renderer, reader = make_renderer(SITE, running), StatusReader(running)
    before = renderer.rgb_array()

    def is_somebody_seen():
        return any(each.crossing_n and each.need_s > 3 for each in reader.read().crossings)

    step_until(running, is_somebody_seen)
    after = renderer.rgb_array()
    assert shows(map_of(before), (29, 78, 216)) == 0
    assert shows(map_of(after), (29, 78, 216)) > 20
    levels = {each.level for each in reader.read().crossings} - {"none"}
    assert all(shows(map_of(after), LEVEL[level]) > 5 for level in levels)


def test_somebody_whom_the_newest_picture_lacks_is_still_counted_on_the_crossing(running):
    renderer, reader, lacking = make_renderer(SITE, running), StatusReader(running), 0
    for _ in range(1200):
        running.step()
        frames = running.loop.observed.snapshot.frames
        for frame, each in zip(frames, reader.read().crossings, strict=True):
            assert (each.crossing_n > 0) >= (each.need_s > 0), "who has a need is on it"
            lacking += each.need_s > 0 and not frame.on_crossing
    assert lacking > 0
    assert "queue" in renderer.ansi()


def test_an_extension_fills_its_crossing_and_stands_in_the_panel_with_reason_and_maximum(running):
    renderer, reader = make_renderer(SITE, running), StatusReader(running)
    step_until(running, lambda: any(each.extension_s > 1 for each in reader.read().crossings))
    extended = next(each for each in reader.read().crossings if each.extension_s > 1)
    assert 0 < extended.extension_s <= extended.extension_max_s + 3
    assert extended.extension_max_s == SITE.plan.extension_max_s(extended.crossing)
    row = next(line for line in renderer.ansi().splitlines() if line.startswith(extended.crossing + " "))
    assert f"{extended.extension_s:.0f}/{extended.extension_max_s:.0f} s" in row
    assert row.endswith(extended.reason)
    assert extended.reason in ("person", "unconfirmed", "blind", "request")
    assert shows(renderer.rgb_array(), LAMP["extend"]) > 20


def test_the_text_panel_names_every_phase_crossing_and_queue(running):
    renderer = make_renderer(SITE, running)
    step_until(running, lambda: running.now_ds >= 1200)
    text = renderer.ansi()
    assert text.startswith("bukmun_5  0:02:00.0  phases ")
    assert "(warm-up)" in text.splitlines()[0]
    for phase in SITE.plan.phases:
        assert f" {phase.number} " in text.split("crossing  head")[0]
    for crossing in SITE.plan.crossings:
        assert f"\n{crossing.id} " in text
    queues = [line.split() for line in text.splitlines() if line.startswith("queue")]
    assert [queue[1] for queue in queues] == [leg.id for leg in SITE.plan.legs]
    assert sum(int(queue[2]) for queue in queues) > 0
    assert "\x1b" not in text


def test_no_line_of_text_is_longer_than_a_terminal_however_many_phases_a_ring_has():
    phases = tuple(
        PhaseStatus(number=n, ring=0, barrier=n, movements=(), lamp="red", elapsed_s=1000.0 * n)
        for n in range(1, 11)
    )
    text = text_panel(
        JunctionStatus(site="x", name="X", now_s=0.0, is_warm=True, phases=phases, crossings=(), queues=())
    )
    assert max(map(len, text.splitlines())) <= 80
    assert [line.count("|") for line in text.splitlines()] == [0, 3, 3, 1]
    assert all(f" {phase.number} r " in text for phase in phases)


@pytest.mark.parametrize("backend", ["libsumo", "traci"])
def test_the_same_seed_gives_the_same_frames_and_drawing_changes_nothing(backend):
    drawn, seldom_drawn = drive("libsumo", draw_every_ds=100), drive(backend, draw_every_ds=1500)
    assert np.array_equal(drawn[0], seldom_drawn[0])
    assert drawn[1:] == seldom_drawn[1:]


def drive(backend, draw_every_ds):
    spec = RunSpec(site="bukmun_5", controller="eta", seed=5, hour="peak", minutes=1, backend=backend)
    with simulation(spec, SITE) as opened:
        driver = build_driver(spec, SITE, opened.connection)
        renderer = make_renderer(SITE, driver)
        while driver.now_ds < 1500:
            driver.step()
            if driver.now_ds % draw_every_ds == 0:
                frame, text = renderer.rgb_array(), renderer.ansi()
        return frame, text, driver.trace.hexdigest


def test_several_junctions_share_a_picture(running):
    renderer = Renderer([SITE, SITE], [running, running])
    assert renderer.rgb_array().shape == (800, 800, 3)
    assert renderer.ansi().count("bukmun_5  0:00:00.0  all red") == 2


def test_what_cannot_be_drawn_is_refused(running):
    with pytest.raises(ValueError, match="at least one running junction"):
        make_renderer(SITE, [])
    with pytest.raises(ValueError, match="size_px = 100"):
        make_renderer(SITE, running, size_px=100)


def test_a_need_is_told_by_what_it_would_take():
    assert need_level(0.0, 5.0, 20.0) == "none"
    assert need_level(5.0, 5.0, 20.0) == "within_clearance"
    assert need_level(25.0, 5.0, 20.0) == "within_maximum"
    assert need_level(25.1, 5.0, 20.0) == "beyond"


def test_the_clock_reads_hours_minutes_seconds():
    assert clock_words(3725.5) == "1:02:05.5"
    assert clock_words(0.0) == "0:00:00.0"

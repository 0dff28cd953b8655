"""One tick of control: who is asked, what is written, what is logged."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_junction import FakeBackend, FakeStreet, Junction, Sensor, Walker

from bitgoeul.controller.audit import Extension
from bitgoeul.controller.guard import Guard
from bitgoeul.controller.loop import ControlLoop
from bitgoeul.controller.plan import load_plan
from bitgoeul.controller.policies.occupancy import PUFFIN, OccupancyExtension
from bitgoeul.controller.policies.plain import Fixed
from bitgoeul.controller.signals import Commands, Lamps
from bitgoeul.controller.situation import Proposal

PLAN = load_plan(Path(__file__).parent / "plans" / "reference.toml")
XW = 3


class Always:
    """Proposes one thing at every tick."""

    name = "always"

    def __init__(self, proposal, *, reads_vehicles=False):
        self.proposal, self.reads_vehicles = proposal, reads_vehicles
        self.seen = []

    def propose(self, situation):
        self.seen.append(situation.snapshot)
        return self.proposal


def empty_street():
    return FakeStreet(PLAN, [], Sensor())


def test_acting_before_observing_is_refused():
    loop = ControlLoop(PLAN, FakeBackend(PLAN), empty_street(), Fixed(), None)
    with pytest.raises(RuntimeError, match="observe before act"):
        loop.act()


def test_a_tick_shows_the_policy_the_snapshot_and_writes_its_commands():
    policy = Always(Proposal(Commands(pattern=1)))
    loop = ControlLoop(PLAN, FakeBackend(PLAN), empty_street(), policy, None)
    assert loop.tick() == Lamps(green=0b100010, walk=0b100010)
    loop.tick()
    assert [snapshot.now_ds for snapshot in policy.seen] == [0, 5]
    assert [snapshot.lamps.green for snapshot in policy.seen] == [0, 0b100010]
    assert loop.audit.commands == Commands(pattern=1)
    assert policy.seen[0].zone_vehicles == ()


def test_a_policy_that_reads_vehicles_gets_every_detector():
    policy = Always(Proposal(), reads_vehicles=True)
    ControlLoop(PLAN, FakeBackend(PLAN), empty_street(), policy, None).tick()
    assert (len(policy.seen[0].zone_vehicles), len(policy.seen[0].arrivals)) == (12, 12)


def test_another_policy_takes_over_with_its_guard():
    loop = ControlLoop(PLAN, FakeBackend(PLAN), empty_street(), Fixed(), None)
    loop.tick()
    policy = Always(Proposal(Commands(force_off=0b10)))
    loop.take_over(policy, Guard(PLAN))
    loop.tick()
    # Walk of XN and XS has started: the guard holds their phases.
    assert loop.audit.commands == Commands(force_off=0b10, hold=0b100010)


@pytest.mark.parametrize("proposal", [None, Proposal(None), Proposal(Commands(hold="8"))], ids=str)
def test_behind_the_guard_a_useless_proposal_is_logged_and_replaced(proposal):
    loop = ControlLoop(PLAN, FakeBackend(PLAN), empty_street(), Always(proposal), Guard(PLAN))
    loop.tick()
    assert loop.audit.commands == Commands()
    assert [note.reason for _, note in loop.audit.interventions] == ["policy_fault"]


def test_an_extension_is_logged_with_its_reason():
    # 0.6 m/s from the last second of walk (107.5 s): 58 s later, at 165.8 s, over the 35 m.
    people = [Walker(XW, 0, "walk", 1.0, 0.6, "frail")]
    junction = Junction(PLAN, Fixed(), FakeStreet(PLAN, people, Sensor()), guard=Guard(PLAN)).run(200)
    (extension,) = junction.loop.audit.extensions
    assert (extension.crossing, extension.reason) == ("XW", "person")
    assert extension.started_ds == 1355  # clearance over at 135 s, read back half a second later
    assert 1590 <= extension.ended_ds <= 1640  # the last 3 to 7 s fit into yellow and red
    assert junction.loop.audit.extension_ds == extension.ended_ds - extension.started_ds


def test_without_a_guard_the_rule_of_the_policy_is_the_reason():
    people = [Walker(XW, 0, "walk", 1.0, 0.9)]
    policy = OccupancyExtension(PLAN, PUFFIN)
    junction = Junction(PLAN, policy, FakeStreet(PLAN, people, Sensor(latency_ds=0)), guard=None).run(200)
    # On the crossing from 107.5 to 146.4 s, seen last at 146 s; then 1 s more, and no longer at 147.5 s.
    assert junction.loop.audit.extensions == [Extension("XW", 1355, 1475, "puffin")]


def test_a_hold_for_traffic_is_not_logged_as_an_extension():
    policy = Always(Proposal(Commands(hold=0b100010)))
    junction = Junction(PLAN, policy, empty_street(), guard=Guard(PLAN)).run(100)
    assert junction.backend.core.lamps.green == 0b100010
    assert junction.loop.audit.extensions == []

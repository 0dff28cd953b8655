"""PET by the cheap watch against a recount from every position of everybody, on the same run."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from math import hypot, inf

import pytest

from bitgoeul.envs.layout import crossing_layouts
from bitgoeul.envs.world import RunSpec, build_driver, simulation
from bitgoeul.sim_scenarios.catalog import load_site

pytestmark = pytest.mark.sumo
HALF_WIDTH_M = 3.0
HALF_LANE_M = 1.6
HORIZON_S = 5.0
STEP_S = 0.5


class Ground:
    """One crossing's rectangle, and everybody's course in its coordinates."""

    def __init__(self, layout):
        self.layout = layout
        (x0, y0), (x1, y1) = layout.start_xy, layout.end_xy
        span = hypot(x1 - x0, y1 - y0)
        self.length, self.x0, self.y0 = span, x0, y0
        self.ux, self.uy = (x1 - x0) / span, (y1 - y0) / span

    def place(self, x, y):
        """Return metres along the crossing and across it."""
        dx, dy = x - self.x0, y - self.y0
        return dx * self.ux + dy * self.uy, dx * self.uy - dy * self.ux

    def passes(self, track, length):
        """Return (strip, front in, rear out) of one vehicle's passage; None if it does not pass."""
        course = [(t, *self.place(x, y)) for t, x, y in track]
        if all(abs(across) > 10 for _, _, across in course):
            return None
        fine = densify(course)
        inside = [k for k, (_, along, across) in enumerate(fine) if self.is_inside(along, across)]
        if not inside or inside[-1] + 1 == len(fine) or inside[0] == 0:
            return None
        along = [fine[k][1] for k in inside]
        driven, last = 0.0, inside[-1]
        while driven < length:
            last += 1
            if last == len(fine):
                return None
            driven += hypot(fine[last][1] - fine[last - 1][1], fine[last][2] - fine[last - 1][2])
        low = max(0.0, min(along) - HALF_LANE_M)
        return (low, min(self.length, max(along) + HALF_LANE_M)), fine[inside[0]][0], fine[last][0]

    def is_inside(self, along, across):
        return abs(across) <= HALF_WIDTH_M and -HALF_LANE_M <= along <= self.length + HALF_LANE_M


def densify(course, parts=25):
    """Put points between those of a course, at unchanged speed."""
    fine = []
    for (t0, *a), (t1, *b) in pairwise(course):
        for k in range(parts):
            share = k / parts
            fine.append((t0 + share * (t1 - t0), *(p + share * (q - p) for p, q in zip(a, b, strict=True))))
    return [*fine, course[-1]]


class Run:
    """One run with every position noted: persons on crossings, vehicles near the junction."""

    def __init__(self, minutes):
        spec = RunSpec(site="bukmun_5", controller="fixed", seed=10_000, hour="peak", minutes=minutes)
        site = load_site("bukmun_5")
        self.walkers, self.tracks, self.lengths = defaultdict(list), defaultdict(list), {}
        with simulation(spec, site) as opened:
            self.sumo = sumo = opened.connection
            self.grounds = [Ground(layout) for layout in crossing_layouts(sumo, site.plan)]
            driver = build_driver(spec, site, sumo)
            while driver.now_ds < spec.end_s * 10:
                driver.step()
                self.note(driver.now_ds / 10)
            self.rows = driver.measures.event_rows(driver.now_ds)

    def note(self, now_s):
        for ground in self.grounds:
            for person in self.sumo.edge.getLastStepPersonIDs(ground.layout.edge):
                along, _ = ground.place(*self.sumo.person.getPosition(person))
                self.walkers[person, ground.layout.crossing].append((now_s, along))
        for vehicle in self.sumo.vehicle.getIDList():
            x, y = self.sumo.vehicle.getPosition(vehicle)
            if hypot(x, y) < 60:
                self.tracks[vehicle].append((now_s, x, y))
                self.lengths.setdefault(vehicle, self.sumo.vehicle.getLength(vehicle))

    def recount(self):
        """Return the shortest PET of each walker and crossing, vehicle behind and vehicle ahead."""
        found = {}
        for ground in self.grounds:
            all_passes = [
                ground.passes(track, self.lengths[v]) for v, track in self.tracks.items() if len(track) > 1
            ]
            known = [one for one in all_passes if one]
            for (person, crossing), course in self.walkers.items():
                if crossing == ground.layout.crossing:
                    for visit in visits(course):
                        if len(visit) > 1:
                            found[person, crossing, visit[0][0]] = shortest(ground, visit, known)
        return found


def visits(course):
    """Return the course in its parts: who turned back comes again."""
    parts = [[course[0]]]
    for before, now in pairwise(course):
        if now[0] - before[0] > STEP_S:
            parts.append([])
        parts[-1].append(now)
    return parts


def shortest(ground, course, passes):
    """Return the least PET with a vehicle behind and with one ahead."""
    behind = ahead = inf
    (t0, a0), (_, a1), (_, ay), (tz, az) = *course[:2], *course[-2:]
    fine = densify([(t0 - STEP_S, 2 * a0 - a1), *course, (tz + STEP_S, 2 * az - ay)])
    end = (-0.01, ground.length + 0.01)
    for (low, high), came, went in passes:
        if went < t0 - 2 * HORIZON_S or came > tz + 2 * HORIZON_S:
            continue
        inside = [t for t, along in fine if low < min(max(along, end[0]), end[1]) < high]
        if not inside:
            continue
        if inside[0] >= went:
            ahead = min(ahead, inside[0] - went)
        else:
            behind = min(behind, max(0.0, came - inside[-1]))
    return behind, ahead


@pytest.fixture(scope="module")
def run():
    return Run(minutes=20)


def least(*values):
    return min((value for value in values if value is not None), default=inf)


def test_pet_equals_a_recount_from_all_positions(run):
    found = run.recount()
    compared, apart = 0, []
    for row in run.rows:
        if row["crossing_s"] is None:
            continue
        behind, ahead = found[row["walker"], row["crossing"], row["entered_s"]]
        for name, ours, theirs in (
            ("behind", least(row["pet_s"], row["pet_turn_s"]), behind),
            ("ahead", least(row["pet_ahead_s"], row["pet_turn_ahead_s"]), ahead),
        ):
            if min(ours, theirs) <= 3.0:
                compared += 1
                if not abs(ours - theirs) < 0.3:
                    apart.append((row["walker"], row["crossing"], name, ours, theirs))
    assert compared > 50
    assert len(apart) <= 1, apart

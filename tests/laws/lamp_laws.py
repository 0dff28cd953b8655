"""What the lamps of any plan must obey, judged by the plan alone, tenth by tenth of a second."""

from __future__ import annotations

from itertools import combinations

from bitgoeul.controller.signals import phases_in

LONG_AGO_DS = -(10**9)


def conflicts_of(plan):
    """Return the pairs of phases that must never be lit together, from their movements and crossings."""
    pairs = set()
    for first, second in combinations(plan.phases, 2):
        if _meet(plan, plan.movements_of(first.number), first.crossings, second):
            pairs |= {(first.number, second.number), (second.number, first.number)}
    return pairs


def _meet(plan, movements, crossings, phase):
    others = plan.movements_of(phase.number)
    return (
        any(plan.movement_relation(a, b) == "conflict" for a in movements for b in others)
        or any(plan.relation(m, c) == "conflict" for m in movements for c in phase.crossings)
        or any(plan.relation(m, c) == "conflict" for m in others for c in crossings)
    )


class Watch:
    """Follows one phase's lamps and knows how long each has been lit."""

    def __init__(self, phase):
        self.phase = phase
        self.restart()

    def restart(self):
        self.lamp, self.since_ds = "red", LONG_AGO_DS
        self.walk, self.walk_since_ds = "", LONG_AGO_DS

    def follow(self, now_ds, lamps):
        bit = 1 << (self.phase.number - 1)
        assert not (lamps.green & lamps.yellow & bit)
        lamp = "green" if lamps.green & bit else "yellow" if lamps.yellow & bit else "red"
        walk = "walk" if lamps.walk & bit else "clear" if lamps.ped_clear & bit else ""
        assert not (lamps.walk & lamps.ped_clear & bit)
        self._walk_follows(now_ds, walk)
        if lamp != self.lamp:
            self._lamp_follows(now_ds, lamp)
        is_leading = walk == "walk" and self.phase.leading_walk_s and lamp == "red"
        assert not walk or lamp == "green" or is_leading

    def _walk_follows(self, now_ds, walk):
        if walk == self.walk:
            return
        lasted_ds = now_ds - self.walk_since_ds
        if self.walk == "walk":
            assert walk == "clear", "walk is followed by clearance"
            assert lasted_ds >= round(self.phase.walk_s * 10)
        elif self.walk == "clear":
            assert not walk
            assert lasted_ds >= round(self.phase.ped_clear_s * 10)
        else:
            assert walk == "walk", "clearance only after walk"
            assert lasted_ds >= 30, "3 s of don't walk between clearance and walk"
        self.walk, self.walk_since_ds = walk, now_ds

    def _lamp_follows(self, now_ds, lamp):
        lasted_ds = now_ds - self.since_ds
        after = {"red": "green", "green": "yellow", "yellow": "red"}
        assert lamp == after[self.lamp]
        if lamp == "yellow":
            assert lasted_ds >= round(self.phase.min_green_s * 10)
        elif lamp == "red":
            assert lasted_ds >= round(self.phase.yellow_s * 10)
        else:
            assert lasted_ds >= round(self.phase.red_revert_s * 10), "red revert"
        self.lamp, self.since_ds = lamp, now_ds

    def blocks(self, now_ds):
        """Tell whether no conflicting green may start now."""
        if self.lamp != "red" or self.walk:
            return True
        return now_ds - self.since_ds < round(self.phase.red_clear_s * 10)


class OverlapWatch:
    """Follows one overlap: green, yellow, red, and nothing it conflicts with starts meanwhile."""

    def __init__(self, plan, index):
        overlap = plan.overlaps[index]
        self.bit = 1 << index
        self.phases = sum(1 << (n - 1) for n in overlap.phases)
        self.yellow_ds = min(round(plan.phase(n).yellow_s * 10) for n in overlap.phases)
        self.conflicts = {p.number for p in plan.phases if _meet(plan, overlap.movements, (), p)}
        self.lamp, self.since_ds = "red", LONG_AGO_DS

    def restart(self):
        self.lamp, self.since_ds = "red", LONG_AGO_DS

    def follow(self, now_ds, lamps):
        is_green, is_yellow = bool(lamps.overlap_green & self.bit), bool(lamps.overlap_yellow & self.bit)
        assert not (is_green and is_yellow)
        assert is_green or not lamps.green & self.phases, "green with each of its phases"
        lamp = "green" if is_green else "yellow" if is_yellow else "red"
        if lamp != self.lamp:
            assert lamp == {"red": "green", "green": "yellow", "yellow": "red"}[self.lamp]
            assert self.lamp != "yellow" or now_ds - self.since_ds >= self.yellow_ds
            self.lamp, self.since_ds = lamp, now_ds


class LampLaws:
    """Judges lamps by the plan alone; knows nothing of how the core decides."""

    def __init__(self, plan):
        self.watches = {phase.number: Watch(phase) for phase in plan.phases}
        self.overlaps = [OverlapWatch(plan, index) for index in range(len(plan.overlaps))]
        self.conflicts = conflicts_of(plan)
        in_one_ring = {
            pair
            for ring in plan.rings
            for pair in combinations([number for barrier in ring for number in barrier], 2)
        }
        self.conflicts |= in_one_ring | {(b, a) for a, b in in_one_ring}
        self.lamps = None

    def follow(self, now_ds, lamps):
        if lamps is self.lamps:
            return
        if lamps.is_flashing:
            self._flash(lamps)
            return
        lit = lamps.green | lamps.walk
        started = [
            n
            for n, watch in self.watches.items()
            if watch.lamp != "green" and not watch.walk and lit >> (n - 1) & 1
        ]
        self.lamps = lamps
        for watch in (*self.watches.values(), *self.overlaps):
            watch.follow(now_ds, lamps)
        for number in started:
            blocking = [
                n
                for n, watch in self.watches.items()
                if (number, n) in self.conflicts and watch.blocks(now_ds)
            ]
            assert not blocking, f"{number} starts at {now_ds} against {blocking}"
            meets = [each.phases for each in self.overlaps if each.lamp != "red" and number in each.conflicts]
            assert not meets, f"{number} starts at {now_ds} against an overlap"
        stray = lamps.green | lamps.yellow | lamps.walk | lamps.ped_clear
        assert set(phases_in(stray)) <= self.watches.keys()

    def _flash(self, lamps):
        """Flash is entered from red; what follows is judged afresh."""
        assert not lamps.green | lamps.yellow | lamps.walk | lamps.ped_clear | lamps.ped_extend
        assert self.lamps is None or self.lamps.is_flashing or not (self.lamps.green | self.lamps.yellow)
        self.lamps = lamps
        for watch in (*self.watches.values(), *self.overlaps):
            watch.restart()

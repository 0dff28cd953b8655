"""Our core and SUMO's controller side by side under the same calls, and where they part."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from permissives import Permissives
from timing_tables import STEP_DS

from bitgoeul.controller.core import Interval, Ring, SignalCore
from bitgoeul.controller.signals import Calls, Commands, phase_mask

NONE = -1
WITHIN_ONE_STEP = "within one step"
"""Name of a difference that the next step closes."""
CALLS = [Calls(vehicle=mask, extend=mask) for mask in range(256)]
"""One value per set of detectors that are on: each both calls and extends."""


@dataclass(frozen=True, slots=True)
class SeenRing:
    """One of SUMO's rings as its lamps and the calls show it; times as in the core's `Ring`. [0.1 s]"""

    phase: int
    interval: Interval
    since_ds: int
    green_since_ds: int = 0
    extended_ds: int = 0
    max_since_ds: int = NONE
    has_gapped_out: bool = False

    @property
    def bit(self):
        return 1 << (self.phase - 1) if self.phase else 0

    @property
    def is_green(self):
        return self.interval is Interval.GREEN

    def as_core_ring(self):
        """Return the ring in the core's terms; its force-off is worked out there."""
        return Ring(
            phase=self.phase,
            interval=self.interval,
            since_ds=self.since_ds,
            green_since_ds=self.green_since_ds,
            max_since_ds=self.max_since_ds,
            has_gapped_out=self.has_gapped_out,
        )


@dataclass(slots=True)
class Memory:
    """What SUMO's ring remembers and its lamps do not show.

    Parameters
    ----------
    demand_at_end : calls and recalls as its green ended.
    seen, kept : calls and recalls seen in some step, in every step, of the clearance since.
    is_transfer : its gap-out was latched while the other ring went on ("green transfer").
    rests_since_ds : start of its green as SUMO moves it along while no other phase is called. [0.1 s]
    has_forgotten : an extension was lost as the last call of another phase went away.
    """

    demand_at_end: int = 0
    seen: int = 0
    kept: int = 0
    is_transfer: bool = False
    rests_since_ds: int = 0
    has_forgotten: bool = False


class Follower:
    """Reads SUMO's lamps as the rings of a core: what each shows, since when, and what its timers hold."""

    def __init__(self, table):
        self.table = table
        self.rings = [SeenRing(0, Interval.RED_CLEAR, 0) for _ in table.rings]
        self.memories = [Memory() for _ in table.rings]
        self.masks = [phase_mask(n for group in ring for n in group) for ring in table.rings]
        self.later = {
            n: phase_mask(group[place + 1 :])
            for ring in table.rings
            for group in ring
            for place, n in enumerate(group)
        }
        self.number = {1 << (n - 1): n for n in table.phases}
        self.timing = {n: table.timing(n) for n in table.phases}
        self.permissives = Permissives(table) if table.cycle else None
        self.max_recall = phase_mask(table.max_recall)
        self.barrier = 0
        self.lamps = (0, 0)

    def follow(self, now_ds, calls, lamps):
        """Take in the lamps of the step that begins now, under its calls."""
        demand = calls | self.table.recalls
        before = list(self.rings)
        if lamps != self.lamps:
            self.lamps = green, yellow = lamps
            for index, mask in enumerate(self.masks):
                self.rings[index] = self._changed(index, green & mask, yellow & mask, (now_ds, demand))
            if green:
                self.barrier = self.table.barrier_of(self.number[green & -green])
        for index, ring in enumerate(self.rings):
            if ring.is_green:
                self.rings[index] = self._timed(index, calls, now_ds)
            else:
                self.memories[index].seen |= demand
                self.memories[index].kept &= demand
        is_called = bool(demand & ~sum(ring.bit for ring in before))
        for ring, old, memory in zip(self.rings, before, self.memories, strict=True):
            if ring.is_green and ring.phase == old.phase and not is_called:
                self._rest(ring, memory, now_ds)
        self._transfer(now_ds, calls)

    def _changed(self, index, green, yellow, moment):
        ring, (now_ds, demand) = self.rings[index], moment
        if green:
            if green == ring.bit and ring.is_green:
                return ring
            self._note_start(index, self.number[green], now_ds)
            return SeenRing(self.number[green], Interval.GREEN, now_ds, now_ds, now_ds)
        interval = Interval.YELLOW if yellow else Interval.RED_CLEAR
        if ring.is_green:
            memory = self.memories[index]
            memory.demand_at_end = memory.seen = memory.kept = demand
            # SUMO's maximum may count from the start of the green.
            if now_ds - ring.green_since_ds >= 10 * self.timing[ring.phase].maximum - STEP_DS:
                self.memories[1 - index].is_transfer = True  # its maximum made the other ready too
        return ring if ring.interval is interval else replace(ring, interval=interval, since_ds=now_ds)

    def _note_start(self, index, number, now_ds):
        """A ring that backs up to an earlier phase of its group puts the other in green transfer."""
        memory = self.memories[index]
        memory.is_transfer = memory.has_forgotten = False
        memory.rests_since_ds = now_ds
        other, group = 1 - index, next(g for g in self.table.rings[index] if number in g)
        last = self.rings[index].phase
        if last in group and group.index(last) > group.index(number) and self.rings[other].is_green:
            self.memories[other].is_transfer = True

    def waits(self, index, demand):
        """Tell whether somebody waits for a phase that cannot be reached while this green lasts."""
        reachable = 0
        for other, ring in enumerate(self.rings):
            reachable |= ring.bit
            if other != index:
                reachable |= self.later.get(ring.phase, 0)
        return bool(demand & ~reachable)

    def is_over(self, ring, calls, now_ds):
        """Tell whether a green's minimum and passage have run out."""
        timing = self.timing[ring.phase]
        least_ds = ring.green_since_ds + 10 * timing.minimum
        return not calls & ring.bit and now_ds >= max(ring.extended_ds + 10 * timing.passage, least_ds)

    def is_short(self, ring, now_ds):
        """Tell whether a green has not lasted its minimum."""
        return now_ds < ring.green_since_ds + 10 * self.timing[ring.phase].minimum

    def maxed_ds(self, ring):
        """Return when a green's maximum ends; none while nobody waits."""
        return NONE if ring.max_since_ds == NONE else ring.max_since_ds + 10 * self.timing[ring.phase].maximum

    def _timed(self, index, calls, now_ds):
        """Return a green with its timers: the maximum is held reset while nobody waits (NTCIP 1202)."""
        ring = self.rings[index]
        waits = self.waits(index, calls | self.table.recalls)
        is_max = bool(self.max_recall & ring.bit)
        max_since_ds = NONE
        if is_max:
            max_since_ds = ring.green_since_ds
        elif waits:
            max_since_ds = now_ds if ring.max_since_ds == NONE else ring.max_since_ds
        gapped = self.table.ends_alone and waits and not is_max
        gapped = gapped and (ring.has_gapped_out or self.is_over(ring, calls, now_ds))
        is_extended = calls & ring.bit
        if not is_extended and max_since_ds == ring.max_since_ds and gapped == ring.has_gapped_out:
            return ring
        extended_ds = now_ds + STEP_DS if is_extended else ring.extended_ds
        return replace(ring, max_since_ds=max_since_ds, has_gapped_out=gapped, extended_ds=extended_ds)

    def _rest(self, ring, memory, now_ds):
        """Move the start of a resting green along; SUMO compares its new length with its old age."""
        timing = self.timing[ring.phase]
        lasted_ds, least_ds = now_ds - memory.rests_since_ds, 10 * timing.minimum
        left_ds = max(ring.extended_ds + 10 * timing.passage - now_ds, 0)
        if lasted_ds >= least_ds:
            memory.has_forgotten |= 0 < left_ds <= lasted_ds - least_ds
            memory.rests_since_ds = now_ds - least_ds

    def _transfer(self, now_ds, calls):
        over = [ring.is_green and self.is_over(ring, calls, now_ds) for ring in self.rings]
        if over == [True, True]:
            for memory in self.memories:
                memory.is_transfer = memory.has_forgotten = False
        elif True in over:
            self.memories[over.index(True)].is_transfer = True

    @property
    def is_green(self):
        """Every ring is green: a state that needs no guess at what comes next."""
        return all(ring.is_green for ring in self.rings)

    def state(self, now_ds, core):
        """Return SUMO's state as one of our core's."""
        return replace(
            core.state,
            now_ds=now_ds,
            barrier=self.barrier,
            next_barrier=NONE,
            rings=tuple(ring.as_core_ring() for ring in self.rings),
            extended_ds=tuple(ring.extended_ds for ring in self.rings),
            pattern=self.table.pattern,
            shift_ds=0,
        )


@dataclass(slots=True, kw_only=True)
class Parting:
    """The first step in which lamps differ: everything a rule may look at.

    Parameters
    ----------
    step, now_ds : when.
    demand : calls and recalls of that step.
    before : SUMO's lamps in the step before, (green, yellow) as phase masks.
    sumo, ours : lamps in that step.
    rings, memories : SUMO's rings in the step before, as `Follower` reads them.
    """

    follower: Follower
    step: int
    now_ds: int
    calls: int
    demand: int
    before: tuple
    sumo: tuple
    ours: tuple
    rings: list
    memories: list
    trace: list = field(default_factory=list)

    @property
    def sumo_ends(self):
        """Greens that SUMO ends and we do not."""
        return self.before[0] & self.ours[0] & ~self.sumo[0]

    @property
    def we_end(self):
        """Greens that we end and SUMO does not."""
        return self.before[0] & self.sumo[0] & ~self.ours[0]


class Lockstep:
    """Runs one script on both and hands every parting to `judge`."""

    def __init__(self, table, cabinet, tally):
        self.table, self.cabinet, self.tally = table, cabinet, tally
        self.core = SignalCore(table.plan())
        self.commands = Commands(pattern=table.pattern)

    def run(self, script, length, judge):
        """Step both through a script; `judge(parting)` names the difference, "" for none."""
        self.cabinet.restart()
        self.follower = follower = Follower(self.table)
        self.trace = []
        self._demands = (0, 0)
        self.is_in_step, self.parting, self.stuck_in, first_greens = False, None, None, 0
        for step in range(length):
            calls = script.calls(step, follower.lamps[0])
            self._demands = self._demands[1], calls | self.table.recalls
            before = follower.lamps, list(follower.rings), [replace(each) for each in follower.memories]
            lamps = self.cabinet.step(calls)
            follower.follow(step * STEP_DS, calls, lamps)
            first_greens = lamps[0] if not step else first_greens & lamps[0]
            ours = None
            if self.is_in_step:
                advanced = self.core.advance(STEP_DS, CALLS[calls], self.commands)
                ours = (advanced.green, advanced.yellow)
            self.trace.append((step, calls, lamps, ours))
            if self.is_in_step:
                self._compare((step, calls), before, (lamps, ours), judge)
            elif not first_greens and follower.is_green and lamps != self.stuck_in:
                self._resume((step + 1) * STEP_DS, calls)
            else:
                self.tally.skipped += 1

    def _compare(self, moment, before, lamps, judge):
        (step, calls), (sumo, ours) = moment, lamps
        self.tally.steps += 1
        if self.parting is not None:
            self._decide(sumo == ours, judge)
        elif sumo == ours:
            self.tally.agreed += sumo != before[0]
        else:
            self.parting = Parting(
                follower=self.follower,
                step=step,
                now_ds=step * STEP_DS,
                calls=calls,
                demand=calls | self.table.recalls,
                before=before[0],
                sumo=sumo,
                ours=ours,
                rings=before[1],
                memories=before[2],
                trace=self.trace,
            )

    def _decide(self, is_same_now, judge):
        """Judge the parting one step on, when a difference of a single step has closed again."""
        parting, self.parting = self.parting, None
        name = judge(parting, is_one_step=is_same_now)
        self.tally.add(name, parting)
        self.is_in_step = name == WITHIN_ONE_STEP and self._retime()
        # Where SUMO stays as it is, we would part again at once: go on after its next change.
        self.stuck_in = None if parting.sumo != parting.before else parting.sumo

    def _resume(self, now_ds, calls):
        """Put our core where SUMO is."""
        self.core.restore(self.follower.state(now_ds, self.core))
        self.core.calls, self.core.commands = CALLS[calls], self.commands
        self.is_in_step = True

    def _retime(self):
        """Take over SUMO's moments where both show the same; return whether that was possible."""
        pairs = list(zip(self.core.rings, self.follower.rings, strict=True))
        if any(ours.phase != sumo.phase or ours.interval != sumo.interval for ours, sumo in pairs):
            return False
        now_ds = self.core.now_ds - STEP_DS
        for ours, sumo, memory in zip(
            self.core.rings, self.follower.rings, self.follower.memories, strict=True
        ):
            if ours.since_ds != sumo.since_ds and ours.interval is Interval.YELLOW:
                # Who ended its green a step later chose under the calls of that step.
                memory.demand_at_end = self._demands[0 if ours.since_ds < now_ds else 1]
        rings = tuple(replace(ours, since_ds=sumo.since_ds) for ours, sumo in pairs)
        self.core.restore(replace(self.core.state, rings=rings))
        return True

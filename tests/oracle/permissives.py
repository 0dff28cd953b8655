"""When SUMO's coordinated phases may give way to which phase: its permissive periods, as its source has them.

`PhaseTransitionLogic::coordBase` and `fromCoord` (controllerType TS2). Times are whole seconds.
"""

from __future__ import annotations


class Permissives:
    """The fixed points of a coordinated table in SUMO's terms.

    Notes
    -----
    From a coordinated phase f, phase p may be chosen while it fits, min(p) + clear(f) <= till(p), and the
    phase q before it in the ring either fits no more, min(q) + clear(f) > till(q), or was due less than
    min(f) ago, till(q) > cycle - min(f). till(x) is the time until the force-off of x.
    """

    def __init__(self, table):
        self.cycle = table.cycle
        self.timing = {number: table.timing(number) for number in table.phases}
        self.due, self.start = {}, {}
        self.prior = {}
        for ring in table.rings:
            numbers = [number for group in ring for number in group]
            at = 0
            for place, number in enumerate(numbers):
                self.start[number] = at
                at += self.timing[number].split
                self.due[number] = at - self.clear(number)
                self.prior[number] = numbers[place - 1]
        self.zero = table.offset - min(self.start[number] for number in table.coordinated)
        self.coordinated = table.coordinated

    def clear(self, number):
        """Return yellow and red of a phase. [s]"""
        return self.timing[number].yellow + self.timing[number].red

    def till(self, number, now_s):
        """Return how long it is until a phase's force-off, below a cycle. [s]"""
        return (self.due[number] - now_s + self.zero) % self.cycle

    def fits(self, number, clear_s, now_s):
        """Tell whether a phase's minimum ends by its force-off after so much clearance."""
        return self.timing[number].minimum + clear_s <= self.till(number, now_s)

    def is_open(self, number, leaving, now_s):
        """Tell whether a coordinated phase may be left for a phase now."""
        clear_s, prior = self.clear(leaving), self.prior[number]
        if not self.fits(number, clear_s, now_s):
            return False
        is_past = self.till(prior, now_s) > self.cycle - self.timing[leaving].minimum
        return is_past or not self.fits(prior, clear_s, now_s)

    def is_open_to_us(self, number, now_s):
        """Tell whether our core may choose a phase now: it fits, and no coordinated split begins first."""
        yields = min(self.due[each] for each in self.coordinated)
        since_s = (now_s - self.zero - yields) % self.cycle
        leave_s = max(self.clear(each) for each in self.coordinated)
        until_due_s = (self.due[number] - yields) % self.cycle
        until_start_s = min((self.start[each] - yields) % self.cycle for each in self.coordinated)
        latest_s = min(until_due_s - self.timing[number].minimum, until_start_s) - leave_s
        return since_s <= max(latest_s, 0)

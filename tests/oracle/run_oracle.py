"""Compares our core with SUMO's NEMA controller over random scripts, and prints the table.

python tests/oracle/run_oracle.py --scripts 10000 --workers 2
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from call_scripts import LENGTH, call_script
from lockstep import WITHIN_ONE_STEP, Lockstep
from quirks import UNEXPLAINED, judge, side_by_side
from sumo_cabinet import SumoCabinet
from timing_tables import COORDINATED, FREE

TABLES = {table.name: table for table in (*FREE, *COORDINATED)}
SHOWN = 5
"""Unexplained differences shown whole for each table."""


@dataclass(slots=True)
class Tally:
    """What came of comparing a table.

    Parameters
    ----------
    agreed : lamp changes that both made in the same step.
    causes : differences by the rule that explains them.
    steps, skipped : steps compared; steps passed over at the start and after a difference.
    """

    scripts: int = 0
    agreed: int = 0
    steps: int = 0
    skipped: int = 0
    causes: Counter = field(default_factory=Counter)
    unexplained: list = field(default_factory=list)
    place: tuple = ()

    def add(self, cause, parting):
        """Count a difference; keep the traces of one that nothing explains."""
        self.causes[cause] += 1
        if cause == UNEXPLAINED and len(self.unexplained) < SHOWN:
            self.unexplained.append(side_by_side(parting, *self.place))

    def merge(self, other):
        """Add another tally to this one."""
        self.scripts += other.scripts
        self.agreed += other.agreed
        self.steps += other.steps
        self.skipped += other.skipped
        self.causes += other.causes
        self.unexplained = (self.unexplained + other.unexplained)[:SHOWN]

    @property
    def decisions(self):
        """Lamp changes compared."""
        return self.agreed + self.causes.total()

    @property
    def share(self):
        """Share of the decisions in which both agree within one step."""
        return (self.agreed + self.causes[WITHIN_ONE_STEP]) / max(self.decisions, 1)


def compare(name, seeds):
    """Run the scripts of these seeds on one table in this process."""
    table, tally = TABLES[name], Tally()
    lockstep = Lockstep(table, SumoCabinet(table), tally)
    for seed in seeds:
        tally.place = (name, seed)
        tally.scripts += 1
        lockstep.run(call_script(seed, table.phases), LENGTH, judge)
    return tally


def compare_all(names, scripts, *, first=0, workers=1):
    """Run so many scripts, shared out evenly over the tables; return a tally for each."""
    chunk = 250
    each = -(-scripts // len(names))
    jobs = [
        (name, range(first + start, first + min(start + chunk, each)))
        for name in names
        for start in range(0, each, chunk)
    ]
    tallies = {name: Tally() for name in names}
    if workers == 1:
        for name, seeds in jobs:
            tallies[name].merge(compare(name, seeds))
        return tallies
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for (name, _), tally in zip(jobs, pool.map(compare, *zip(*jobs, strict=True)), strict=True):
            tallies[name].merge(tally)
    return tallies


def table_text(tallies):
    """Return the figures as a table, and the differences by cause below it."""
    heads = f"{'decisions':>11}{'same step':>11}{'one step':>10}{'agree':>9}{'skipped':>9}"
    lines = [f"{'table':30}{'scripts':>8}{heads}"]
    for name, tally in tallies.items():
        skipped = tally.skipped / max(tally.steps + tally.skipped, 1)
        lines.append(
            f"{name:30}{tally.scripts:8}{tally.decisions:11}{tally.agreed:11}"
            f"{tally.causes[WITHIN_ONE_STEP]:10}{tally.share:9.2%}{skipped:9.1%}"
        )
        lines += [
            f"    {count:8} {count / tally.decisions:7.2%}  {cause}"
            for cause, count in tally.causes.most_common()
            if cause != WITHIN_ONE_STEP
        ]
    return "\n".join(lines)


def main():
    """Print the table; exit 1 when a difference stays unexplained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scripts", type=int, default=500)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--tables", default="", help="only tables whose name begins so")
    arguments = parser.parse_args()
    names = [name for name in TABLES if name.startswith(arguments.tables)]
    if not names or arguments.scripts < 1:
        parser.error(
            f"no table begins with {arguments.tables!r}" if not names else "--scripts must be at least 1"
        )
    tallies = compare_all(names, arguments.scripts, first=arguments.first, workers=arguments.workers)
    print(table_text(tallies))  # noqa: T201
    for tally in tallies.values():
        print("\n\n".join(["", *tally.unexplained]), end="")  # noqa: T201
    sys.exit(any(tally.causes[UNEXPLAINED] for tally in tallies.values()))


if __name__ == "__main__":
    main()

"""Every error a user can meet, in three families: the plan's, the field's, the simulation's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class BitgoeulError(Exception):
    """Base of all errors shown to a user; raise one of its families, never this class."""

    def __init__(self, message: str) -> None:
        """Refuse direct use, so that each error says whose mistake it is.

        Raises
        ------
        TypeError : the base class itself is raised.
        """
        if type(self) is BitgoeulError:
            raise TypeError("raise PlanError, FieldFault or ScenarioError, not BitgoeulError")
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFault:
    """One thing wrong in a site plan: where, what was found, what is allowed.

    Parameters
    ----------
    path : place in the file, such as `phases.4.yellow_s`.
    value : what was found there, as text.
    rule : what is allowed, and what to do.
    """

    path: str
    value: str
    rule: str

    def __str__(self) -> str:
        return f"{self.path} = {self.value}: {self.rule}"


def plan_fault(path: str, value: object, rule: str) -> PlanFault:
    """Return a fault whose value is given as it was found."""
    return PlanFault(path=path, value=str(value), rule=rule)


def faults_text(source: str, faults: Sequence[PlanFault]) -> str:
    """Return all faults of a file as one message: how many, then a line each."""
    count = f"{len(faults)} fault{'s' if len(faults) != 1 else ''}"
    return f"{source}: {count}" + "".join(f"\n  {fault}" for fault in faults)


class PlanError(BitgoeulError):
    """A site plan that must not be run: all its faults at once."""

    def __init__(self, source: str, faults: tuple[PlanFault, ...]) -> None:
        """Collect the faults of the plan read from `source` (a file name)."""
        self.source = source
        self.faults = faults
        super().__init__(faults_text(source, faults))


class FieldFault(BitgoeulError):
    """A cabinet, detector or link that does not answer as it should."""

    def __init__(self, device: str, cause: str) -> None:
        """Say which device failed and how."""
        self.device = device
        self.cause = cause
        super().__init__(f"{device}: {cause}")


class ScenarioError(BitgoeulError):
    """Simulation files, sites or stored results that cannot be used."""

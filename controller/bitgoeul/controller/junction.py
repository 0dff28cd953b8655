"""One junction in a running SUMO: the loop, the street's people and SUMO's steps, in their one order.

`run`, the environments and `control` all step this class, so they leave the same trace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from .backends.sumo import SumoBackend, clear_junction, step_length_ds
from .guard import Guard
from .loop import ControlLoop, DetectionSource
from .plan import SitePlan
from .policies.base import Policy
from .policies.choosing import ChoicePolicy
from .policies.plain import Fixed
from .signals import ALL_RED, NO_COMMANDS, Lamps
from .trace import Trace

LampListener = Callable[[int, Lamps, Lamps], None]
"""Called with (time [0.1 s], lamps before, lamps from now on)."""


class Street(DetectionSource, Protocol):
    """The people of a simulated street: moved by a driver, seen by a detector."""

    def observe(self, now_ds: int) -> None:
        """Take in what the last simulation step changed."""
        ...

    def act(self, now_ds: int, lamps: Lamps) -> None:
        """Let people react to the lamps of the next step."""
        ...

    def follow(self, trace: Trace) -> None:
        """Tell the trace of everyone who steps on or off a crossing."""
        ...

    def release(self, now_ds: int) -> None:
        """Leave everyone to SUMO again."""
        ...


class SumoJunction:
    """Steps SUMO with one controlled junction in it.

    Parameters
    ----------
    connection : `libsumo`, or a `traci` connection.
    plan : the plan the controller runs.
    policy, guard : the controller; `guard` None for baselines without one.
    street : the people and their detector.
    warmup_ds : until then the plan's pattern runs, whoever the controller is. [0.1 s]
    now_ds : the simulation's time. [0.1 s]
    """

    def __init__(  # noqa: PLR0913 - the parts of a junction, put together once
        self,
        connection: Any,
        plan: SitePlan,
        policy: Policy,
        guard: Guard | None,
        street: Street,
        *,
        warmup_ds: int,
        now_ds: int = 0,
    ) -> None:
        self._connection = connection
        self.plan, self.policy, self.guard, self.street = plan, policy, guard, street
        self.step_ds = step_length_ds(connection)
        self.backend = SumoBackend(connection, plan, step_ds=self.step_ds, now_ds=now_ds)
        self.loop = ControlLoop(plan, self.backend, street, Fixed(), None)
        self.trace = Trace()
        self.lamp_listeners: list[LampListener] = [
            lambda now_ds, _before, after: self.trace.shown(now_ds, after)
        ]
        street.follow(self.trace)
        self.now_ds, self.warmup_ds = now_ds, warmup_ds
        self._simulation_step = connection.simulationStep
        self._street_act, self._street_observe = street.act, street.observe
        self._lamps = ALL_RED
        self._commands = NO_COMMANDS
        self._is_warm = False
        self._observe()

    def step(self) -> None:
        """Act on the situation last observed, let SUMO run one step, observe the next one."""
        self.act()
        self._simulation_step()
        self.observe()

    def act(self) -> None:
        """Act on the situation last observed; several junctions in one SUMO each do so before its step."""
        now_ds = self.now_ds
        lamps = self.loop.act()
        commands = self.loop.audit.commands
        if commands is not self._commands:
            self._commands = commands
            self.trace.ordered(now_ds, commands)
        if lamps is not self._lamps:
            for listener in self.lamp_listeners:
                listener(now_ds, self._lamps, lamps)
            self._lamps = lamps
        self._street_act(now_ds, lamps)

    def observe(self) -> None:
        """Observe what the step just run has changed."""
        self.now_ds += self.step_ds
        self._observe()

    def _observe(self) -> None:
        """Take in the present moment; at the end of the warm-up the controller proper takes over."""
        if not self._is_warm and self.now_ds >= self.warmup_ds:
            self._is_warm = True
            self.loop.take_over(self.policy, self.guard)
        self._street_observe(self.now_ds)
        self.loop.observe()

    @property
    def overrides(self) -> Counter[str]:
        """Choices that the guard put aside so far, by reason, each once."""
        return self.loop.counts.overrides

    @property
    def delayed(self) -> Counter[str]:
        """Gos that began later because of an extension, by its reason, each once a reason."""
        return self.loop.counts.delayed

    @property
    def is_decision_due(self) -> bool:
        """Tell whether the policy is a choosing one, in charge, and will choose at the next step."""
        if not self._is_warm or not isinstance(self.policy, ChoicePolicy):
            return False
        return self.policy.is_due(self.loop.observed)

    def give_back(self, *, is_over: bool = False) -> None:
        """Let the people go, clear the junction, hand it to the network's own program at its cycle's start.

        Parameters
        ----------
        is_over : the simulation has ended, so nothing is left to clear.
        """
        if not is_over:
            self.street.release(self.now_ds)
            clear_junction(self._connection, self.plan)
        self.backend.release()

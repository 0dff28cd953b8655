"""An environment that misbehaves, which worker processes can import too."""

import os
import signal
import time

import gymnasium
import numpy as np
from gymnasium import spaces

KILLED, HANGING, FAILING = 1, 2, 3


class UnreadableError(Exception):
    """Cannot be unpickled: its message is not its argument."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class Odd(gymnasium.Env):
    """Does as its action says."""

    observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        if action == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        if action == HANGING:
            time.sleep(60)
        if action == FAILING:
            raise UnreadableError("first", "second")
        return np.zeros(1, np.float32), 0.0, False, False, {}

    def fail(self):
        raise KeyError("asked for")

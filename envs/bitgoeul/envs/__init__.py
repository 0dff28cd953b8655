"""The SUMO world: walkers, emulated detectors, measures and the learning environments.

Importing this package registers `Bitgoeul/Crossing-v0` with Gymnasium; `gymnasium.make` does it by itself
for the id `bitgoeul.envs:Bitgoeul/Crossing-v0`.
"""

from __future__ import annotations

import gymnasium

ENV_ID = "Bitgoeul/Crossing-v0"
"""Gymnasium id of the one-junction environment."""

if ENV_ID not in gymnasium.registry:
    gymnasium.register(
        id=ENV_ID,
        entry_point="bitgoeul.envs.crossing:CrossingEnv",
        vector_entry_point="bitgoeul.envs.vector:CrossingVectorEnv",
    )

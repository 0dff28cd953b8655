"""The SUMO world: walkers, emulated detectors, measures and the learning environments."""

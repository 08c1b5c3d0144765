"""Simulation: MuJoCo robots, the simulated robot node, environments for algorithm work, evaluation."""

"""Simulation: MuJoCo robots, the simulated robot node, environments for algorithm work, evaluation."""

import sys

from robot_dreamer.missing import explain_missing

if sys.argv[:1] == ["-m"]:  # so Python calls itself while it looks for `sim.node`
    explain_missing("sim_robot")

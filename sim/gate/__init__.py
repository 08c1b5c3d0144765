"""The gate: may a bundle go onto a robot? docs/gate.md explains it."""

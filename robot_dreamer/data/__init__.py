"""Experience beside a run: what a store holds, bags out of it, bags into it."""

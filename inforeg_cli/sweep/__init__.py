"""Sweeps: grids of experiments, and who runs them. A cell is an experiment, so what is done is what has a run."""

"""Showing runs elsewhere while they train: in Weights & Biases, and by any other logger of Lightning.

None of it is part of what a run is: it stands in no config, changes no number and names no trial.
"""

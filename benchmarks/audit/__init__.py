"""Checks results against the code: re-runs trials, and compares two runs of a study."""

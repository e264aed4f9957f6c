"""Experiment tracking: Weights & Biases, and any other Lightning logger.

Tracking is not part of a run: it is not in the config and does not change results or trial keys.
"""

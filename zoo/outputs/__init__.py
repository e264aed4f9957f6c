"""Outputs of a run: files, curve, result, checkpoint, provenance."""

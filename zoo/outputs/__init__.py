"""What a run leaves: files, curve, result, checkpoint, provenance."""

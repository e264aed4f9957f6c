"""One short file a model."""

"""Models, one short file each."""

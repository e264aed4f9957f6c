"""What this project itself costs: speed, scaling, overheads, calibration, hand-written peers."""

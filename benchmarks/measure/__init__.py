"""Measurements of this project itself: speed, scaling, overhead, calibration, hand-written peers."""

"""Measurements, as ratios to a floor taken in the same run: an absolute time on a noisy machine proves nothing."""

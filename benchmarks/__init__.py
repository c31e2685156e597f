"""Measurements, side by side in one run; machines are noisy, so look at the ratios."""

"""Benchmarks that measure contenders side by side in one run; machines are noisy, so compare the ratios."""

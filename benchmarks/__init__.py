"""Benchmarks: this project beside its alternatives, measured in the same run."""

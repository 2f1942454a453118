"""Benchmarks: this project's classifiers beside the usual ones, in one run, on the same texts and the same two cores."""

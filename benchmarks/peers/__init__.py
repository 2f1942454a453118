"""The rows of the benchmark, one file a library."""

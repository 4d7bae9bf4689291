"""What Triolet costs, measured. Run from the root of the repository: ``python -m benchmarks.fanout``."""

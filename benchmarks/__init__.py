"""Benchmarks and studies: runnable modules."""

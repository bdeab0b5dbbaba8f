"""Ours beside other engines on one machine, in one run: python -m benchmarks.peers (see __main__.py)."""

"""Benchmarks: Loupe filled with up to ten million assets, and measured. ``make bench``;
docs/benchmarks.md says more.

Not part of the application: nothing that runs imports it.
"""

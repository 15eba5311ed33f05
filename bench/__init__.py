"""Benchmarks of Loupe with up to ten million assets: ``make bench``, docs/benchmarks.md.

Not part of the application, which never imports it.
"""

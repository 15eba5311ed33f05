"""Loupe as programs see it: other services' wire formats, answered with what classifiers and people
decided.
"""

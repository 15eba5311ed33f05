"""Judgement that is measured: figures with intervals, and heads that learn from decisions.

Pure functions on numbers: nothing here knows Django or the database.
"""

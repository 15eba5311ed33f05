"""The verbs of moderation: ``intake`` (classify and settle), ``desk`` (claim, decide, reverse),
``policies``.
"""

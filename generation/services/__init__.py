"""The verbs: ``requests`` (people), ``submitting``, ``polling``, ``downloading`` (workers), and
what they rest on.
"""

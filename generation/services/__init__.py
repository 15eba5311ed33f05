"""Use cases that change data: people's actions, the workers' steps, and their helpers.

People: ``requests``. Workers: ``submitting``, ``polling``, ``downloading``, ``importing``. The
other modules are helpers of these.
"""

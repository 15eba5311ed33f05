"""Tests whose programs or packages are missing."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip_unless_required(problem: str, variable: str) -> NoReturn:
    """Skip the test, or fail if the environment variable is 1, as in ``.ci/run``.

    ``problem`` is a clause without a full stop, such as "nginx is not installed".
    """
    if os.environ.get(variable) == "1":
        pytest.fail(f"{variable}=1, but {problem}.")
    # Without the variable, all other tests still run on a machine without the program.
    pytest.skip(f"{problem}; {variable}=1 makes this a failure")

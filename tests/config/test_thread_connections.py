from __future__ import annotations

import gc
import threading

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


@pytest.mark.django_db(transaction=True)
def test_a_connection_closes_when_its_thread_ends() -> None:
    """Without waiting for the garbage collector, which may come hours later."""
    opened: list[BaseDatabaseWrapper] = []

    def ask() -> None:
        connection = connections["default"]
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        assert connection.connection is not None
        opened.append(connection)

    gc.disable()
    try:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert opened[0].connection is None
    finally:
        gc.enable()

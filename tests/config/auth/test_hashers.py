from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from argon2 import PasswordHasher, extract_parameters
from django.contrib.auth.hashers import Argon2PasswordHasher, check_password, make_password
from django.contrib.auth.models import User
from django.test import Client

from config import settings as production
from config.auth.hashers import PARALLEL_HASHES, BoundedArgon2PasswordHasher

PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _as_in_production(settings: object) -> None:
    settings.PASSWORD_HASHERS = production.PASSWORD_HASHERS


def test_new_password_hashes_use_19_mib_each() -> None:
    parameters = extract_parameters(make_password(PASSWORD).removeprefix("argon2"))

    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (
        19 * 1024,
        2,
        1,
    )


@pytest.mark.django_db
def test_password_hash_with_other_parameters_is_replaced_at_log_in() -> None:
    user = User.objects.create(
        username="ada", password=Argon2PasswordHasher().encode(PASSWORD, "s" * 22)
    )
    assert "m=102400" in user.password

    assert Client().post("/login/", {"username": "ada", "password": PASSWORD}).status_code == 302

    user.refresh_from_db()
    assert "m=19456" in user.password
    assert check_password(PASSWORD, user.password)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_log_ins_hash_a_limited_number_of_passwords_at_a_time(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test a known and an unknown user name: the password is hashed for both."""
    User.objects.create_user("ada", password=PASSWORD)
    lock, running, highest = threading.Lock(), 0, 0
    full = threading.Event()

    def counted(real: object) -> object:
        def hash_slowly(*args: object, **kwargs: object) -> object:
            nonlocal running, highest
            with lock:
                running += 1
                highest = max(highest, running)
                if running >= PARALLEL_HASHES:
                    full.set()
            full.wait(10)  # wait until the highest allowed number of threads is in here
            try:
                return real(*args, **kwargs)
            finally:
                with lock:
                    running -= 1

        return hash_slowly

    for method in ("encode", "verify"):
        monkeypatch.setattr(
            Argon2PasswordHasher, method, counted(getattr(Argon2PasswordHasher, method))
        )

    def log_in(number: int) -> int:
        # Another client address each time: a locked-out address gets no password hashed.
        headers = {"X-Forwarded-For": f"192.0.2.{number}"}
        return (
            Client(headers=headers)
            .post("/login/", {"username": name, "password": "wrong"})
            .status_code
        )

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(log_in, range(8))) == {200}
    assert highest == PARALLEL_HASHES


def test_password_hashes_are_standard_argon2_hashes() -> None:
    encoded = BoundedArgon2PasswordHasher().encode(PASSWORD, "s" * 22)

    assert PasswordHasher().verify(encoded.removeprefix("argon2"), PASSWORD)

"""Password hashing with bounded memory and bounded parallelism."""

from __future__ import annotations

import threading

from django.contrib.auth.hashers import Argon2PasswordHasher

# Per process. More would not be faster on the usual two to four cores, and each uses memory.
PARALLEL_HASHES = 2


class BoundedArgon2PasswordHasher(Argon2PasswordHasher):
    """Argon2id with OWASP's smaller parameters, at most PARALLEL_HASHES passwords at a time.

    Anyone may send passwords to the log-in page, and each uses memory while it is hashed: 19 MiB
    here, 100 MiB with Django's parameters. Unknown user names are also hashed, by Django. A stored
    hash with other parameters stays valid and is replaced at the next log-in. Source:
    https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
    """

    time_cost = 2
    memory_cost = 19_456  # KiB
    parallelism = 1
    _slots = threading.BoundedSemaphore(PARALLEL_HASHES)

    def encode(self, password: str, salt: str) -> str:
        with self._slots:
            return str(super().encode(password, salt))

    def verify(self, password: str, encoded: str) -> bool:
        with self._slots:
            return bool(super().verify(password, encoded))

"""Checks passwords with bcrypt, each password once, in a thread.

Rule 1: no password is stored: the outcome is remembered under a keyed hash, whose key is made at each start.
Rule 2: a check for an unknown user takes as long as one for a user. Rule 3: one check runs at a time, and few wait; in
a flood of passwords further ones get a 503, while remembered passwords still work.
"""

import asyncio
import base64
import hashlib
import os
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import bcrypt

MAX_PASSWORD_BYTES: Final = 72
"""Bytes that bcrypt uses; the library refuses longer passwords, so that no hash belongs to one."""

MAX_PENDING_CHECKS: Final = 32
"""Checks that may wait, each for 0.07 s at the usual cost of 10."""

MAX_REMEMBERED_PASSWORDS: Final = 256
"""Right passwords remembered, and as many wrong ones: a scraper with a wrong password costs one check in all."""

DUMMY_HASH_TAIL: Final = "CCCCCCCCCCCCCCCCCCCCC.CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC"
"""Salt and digest of a hash that belongs to no user."""


class TooManyPendingError(Exception):
    """`MAX_PENDING_CHECKS` passwords wait to be checked."""


@dataclass(frozen=True, slots=True)
class UserPassword:
    """The credentials that a client sends; never shown."""

    user: str
    password: bytes

    def __repr__(self) -> str:
        return "Credentials(<secret>)"


def parse_credentials(header: str) -> UserPassword | None:
    """The credentials of an `Authorization` header; None if it has none that can be parsed (RFC 7617)."""
    scheme, _, encoded = header.strip().partition(" ")
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return UserPassword(user.decode(), password) if scheme.lower() == "basic" and colon else None
    except ValueError:
        return None


class PasswordChecker:
    """Checks credentials against users and their hashes; `close` it."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="passwords")
        self._right, self._wrong = OrderedDict[bytes, bool](), OrderedDict[bytes, bool]()
        self._pending: dict[bytes, asyncio.Task[bool]] = {}
        self.checks = 0

    async def is_right(self, users: Mapping[str, str], credentials: UserPassword) -> bool:
        """Whether the password is the user's; raises TooManyPendingError."""
        if len(credentials.password) > MAX_PASSWORD_BYTES:
            return False
        hashed = users.get(credentials.user, "")
        digest = self._digest(credentials, hashed)
        for remembered in (self._right, self._wrong):
            if digest in remembered:
                remembered.move_to_end(digest)
                return remembered[digest]
        if digest not in self._pending:
            if len(self._pending) >= MAX_PENDING_CHECKS:
                raise TooManyPendingError
            check = self._check(digest, credentials.password, hashed or _dummy_hash(users), exists=bool(hashed))
            self._pending[digest] = asyncio.create_task(check, name="login")
        return await asyncio.shield(self._pending[digest])

    async def close(self) -> None:
        """Cancel pending checks and end the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        for task in list(self._pending.values()):
            task.cancel()
        await asyncio.gather(*self._pending.values(), return_exceptions=True)

    def _digest(self, credentials: UserPassword, hashed: str) -> bytes:
        parts = (credentials.user.encode(), hashed.encode(), credentials.password)
        return hashlib.blake2b(b"".join(len(part).to_bytes(4, "big") + part for part in parts), key=self._key).digest()

    async def _check(self, digest: bytes, password: bytes, hashed: str, *, exists: bool) -> bool:
        try:
            self.checks += 1
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._thread, _matches, password, hashed) and exists
        finally:
            del self._pending[digest]
        remembered = self._right if right else self._wrong
        remembered[digest] = right
        if len(remembered) > MAX_REMEMBERED_PASSWORDS:
            remembered.popitem(last=False)
        return right


def _matches(password: bytes, hashed: str) -> bool:
    """bcrypt, which releases the interpreter's lock."""
    try:
        return bcrypt.checkpw(password, hashed.encode())
    except ValueError:  # the library cannot use this password or hash
        return False


def _dummy_hash(users: Mapping[str, str]) -> str:
    """A hash of the highest cost among the users'."""
    cost = max(hashed.split("$")[2] for hashed in users.values())
    return f"$2b${cost}${DUMMY_HASH_TAIL}"

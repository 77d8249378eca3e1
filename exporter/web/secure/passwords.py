"""Whether a password is a user's: bcrypt, once for each password, in a thread of its own.

Rule 1: no password is kept: what is known of it is remembered under a keyed hash, the key is made at each start.
Rule 2: a user that does not exist costs what one that exists costs. Rule 3: one check at a time, and few that wait:
who floods us with passwords gets 503, and who is known by now is let in all the while.
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
"""Bytes that bcrypt looks at; the library refuses more, and so no hash can be of more."""

MAX_PENDING_CHECKS: Final = 32
"""Checks that may wait, each for 0.07 s at the usual cost of 10."""

MAX_REMEMBERED_PASSWORDS: Final = 256
"""Good passwords that are remembered, and bad ones: a scraper with a wrong one costs one check, not one a scrape."""

DUMMY_HASH_TAIL: Final = "CCCCCCCCCCCCCCCCCCCCC.CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC"
"""Salt and digest of a hash that is nobody's."""


class TooManyPendingError(Exception):
    """More passwords wait to be checked than we let wait."""


@dataclass(frozen=True, slots=True)
class UserPassword:
    """What a client says of itself; not to be shown."""

    user: str
    password: bytes

    def __repr__(self) -> str:
        return "Credentials(<secret>)"


def credentials(header: str) -> UserPassword | None:
    """Those of an `Authorization` header; None if it holds none that can be read (RFC 7617)."""
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
        self._good, self._bad = OrderedDict[bytes, bool](), OrderedDict[bytes, bool]()
        self._checking: dict[bytes, asyncio.Task[bool]] = {}
        self.checks = 0

    async def right(self, users: Mapping[str, str], said: UserPassword) -> bool:
        """Whether the password is the user's; raises Overrun."""
        if len(said.password) > MAX_PASSWORD_BYTES:
            return False
        hashed = users.get(said.user, "")
        mark = self._mark(said, hashed)
        for memory in (self._good, self._bad):
            if mark in memory:
                memory.move_to_end(mark)
                return memory[mark]
        if mark not in self._checking:
            if len(self._checking) >= MAX_PENDING_CHECKS:
                raise TooManyPendingError
            check = self._check(mark, said.password, hashed or _nobodys(users), exists=bool(hashed))
            self._checking[mark] = asyncio.create_task(check, name="login")
        return await asyncio.shield(self._checking[mark])

    async def close(self) -> None:
        """Let go of what waits, and of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        for task in list(self._checking.values()):
            task.cancel()
        await asyncio.gather(*self._checking.values(), return_exceptions=True)

    def _mark(self, said: UserPassword, hashed: str) -> bytes:
        parts = (said.user.encode(), hashed.encode(), said.password)
        return hashlib.blake2b(b"".join(len(part).to_bytes(4, "big") + part for part in parts), key=self._key).digest()

    async def _check(self, mark: bytes, password: bytes, hashed: str, *, exists: bool) -> bool:
        try:
            self.checks += 1
            right = await asyncio.get_running_loop().run_in_executor(self._thread, _is, password, hashed) and exists
        finally:
            del self._checking[mark]
        memory = self._good if right else self._bad
        memory[mark] = right
        if len(memory) > MAX_REMEMBERED_PASSWORDS:
            memory.popitem(last=False)
        return right


def _is(password: bytes, hashed: str) -> bool:
    """bcrypt, without Python's lock: the loop goes on meanwhile."""
    try:
        return bcrypt.checkpw(password, hashed.encode())
    except ValueError:  # whatever the library will not look at opens nothing
        return False


def _nobodys(users: Mapping[str, str]) -> str:
    """A hash that costs as much as the dearest of the users'."""
    cost = max(hashed.split("$")[2] for hashed in users.values())
    return f"$2b${cost}${DUMMY_HASH_TAIL}"

"""When Python's garbage collector runs: never in the middle of a session, if it can be helped."""

import asyncio
import gc
from collections.abc import Callable
from typing import Final

GARBAGE_CHECK_SECONDS: Final = 0.1
"""Seconds between two checks of whether a collection is due."""

MAX_YOUNG_OBJECTS: Final = 5_000
"""Objects made since the last collection and still there: as garbage they block the loop for a millisecond."""

YOUNG_COLLECTION_SECONDS: Final = 1.0
"""Seconds between two collections of young garbage while no session is in flight; otherwise ten times that."""

FULL_COLLECTION_SECONDS: Final = 600.0
"""Seconds between two collections of all garbage."""


async def collect_garbage(is_idle: Callable[[], bool], is_crowded: Callable[[], bool] = lambda: False) -> None:
    """Run Python's collector at times that disturb no session, until cancelled.

    Objects that exist at the start are frozen and never examined again. Young garbage is collected while no session is
    in flight, when there is much of it, and at the latest after ten times the usual interval. A session leaves no
    reference cycles unless something broke, but every connection to our HTTP server does.

    `is_idle`: whether no session is in flight.
    `is_crowded`: whether many short-lived objects exist now, so that a collection would find little and block the loop
    (23 ms while the config of 1,000 targets is read).
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    now = asyncio.get_running_loop().time
    last_young = last_full = now()
    try:
        while True:
            await asyncio.sleep(GARBAGE_CHECK_SECONDS)
            if is_crowded():
                continue
            at = now()
            if at - last_full >= FULL_COLLECTION_SECONDS:
                gc.collect()
                last_young = last_full = at
            elif at - last_young >= (YOUNG_COLLECTION_SECONDS if is_idle() else 10 * YOUNG_COLLECTION_SECONDS):
                gc.collect(1)
                last_young = at
            elif gc.get_count()[0] > MAX_YOUNG_OBJECTS:
                gc.collect(0)
    finally:
        gc.enable()
        gc.unfreeze()

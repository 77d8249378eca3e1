"""What a result says of the addresses of its name: a verdict on one of several is none on the name."""

from collections.abc import Iterator
from typing import Final

from exporter.result import Evidence, Phase, Result

ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


def tried(told: Evidence) -> Iterator[str]:
    """The address that was tried, and its place if the name has several."""
    if told.address is not None:
        several = f", {_place(told)}" if (told.addresses or 1) > 1 else ""
        yield f"{told.address}{several}"


def others(result: Result) -> Iterator[str]:
    """Sentences about the other addresses; none if there are none, or if nothing is known of them."""
    told = result.evidence
    if (told.addresses or 1) == 1:
        return
    failed = ", ".join(address for address in told.failed_addresses if address != told.address)
    if result.phase is not Phase.TCP:
        if failed:
            yield f"This was {told.address}, {_place(told)} addresses: {failed} took no TCP connection before."
        return
    yield f"This was {told.address}, {_place(told)} addresses of the name."
    if failed:
        yield f"Before it, {failed} took no TCP connection either."
    left = result.untried_addresses
    if left:
        yield f"A client goes on to the next one and may get in: {left} {'is' if left == 1 else 'are'} not tried yet."
    else:
        yield "No other one is left to try."


def _place(told: Evidence) -> str:
    number = told.address_number or 1
    place = f"the {ORDINALS[number - 1]}" if 1 <= number <= len(ORDINALS) else f"number {number}"
    return f"{place} of {told.addresses}"

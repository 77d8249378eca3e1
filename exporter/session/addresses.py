"""Which of a host's addresses a session tries."""

from typing import NamedTuple

from exporter.resolver import Resolver, address_text, choose_address
from exporter.result import Address
from exporter.session.request import SessionRequest


class ChosenAddress(NamedTuple):
    """The address that a session tries, and its place among those of the name; the texts are those of `Evidence`."""

    address: Address
    text: str
    number: int
    addresses: int
    failed: tuple[str, ...]


async def resolve_address(request: SessionRequest, resolver: Resolver) -> ChosenAddress:
    """Resolve the host and choose one of its addresses. Raises ProbeError (dns)."""
    addresses = await resolver.resolve(request.connect_to or request.host, request.port, request.ip_protocol)
    chosen = choose_address(addresses, request.failed_addresses)
    texts = [address_text(address) for address in addresses]
    failed = tuple(text for text in request.failed_addresses if text in texts)
    return ChosenAddress(chosen, address_text(chosen), addresses.index(chosen) + 1, len(addresses), failed)

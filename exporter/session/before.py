"""The phase `before`: one HTTP request, and what of its answer the upgrade and the messages need.

Rule 1: kept values are text of the network and secrets at once: they are in the session's `secrets`, and go to the
target alone.
"""

import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from importlib import import_module
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from exporter.framing import FramingError, codec_of
from exporter.profiles import (
    UnfitValueError,
    fill_headers,
    fill_resource,
    fill_subprotocols,
    kept_values,
    texts_at_kept,
)
from exporter.resolver import Resolver
from exporter.result import Address, Direction, ErrorKind, Phase, ProbeError
from exporter.session.addresses import ChosenAddress, resolve_address
from exporter.session.observer import SeenMessage
from exporter.session.phase_timer import PhaseTimer
from exporter.session.request import HttpRequest, RequestBefore, SessionRequest
from exporter.transport import Clock

CLIENT_MODULE: Final = "exporter.session.http_request"


class HttpAnswer(NamedTuple):
    """The answer to a request: a status of 2xx, and the whole body."""

    status: int
    body: bytes


Exchange = Callable[[HttpRequest, Address, Callable[[], None]], Awaitable[HttpAnswer]]
"""`http_request.exchange`."""


def load_client() -> Exchange:
    """Return the HTTP client; to load it takes 0.1 s the first time, which is too long in the event loop."""
    exchange: Exchange = import_module(CLIENT_MODULE).exchange
    return exchange


def is_client_loaded() -> bool:
    """Whether `load_client` returns at once."""
    return CLIENT_MODULE in sys.modules


class BeforePhase:
    """The request before the upgrade. Call `run` once.

    `address`: of the target's own server, if that was asked. `failed_connected`: the request failed, and the server was
    connected to by then, with its TLS.
    """

    def __init__(self, request: SessionRequest, resolver: Resolver, timer: PhaseTimer) -> None:
        self._request = request
        self._before = _before_of(request)
        self._resolver = resolver
        self._timer = timer
        self.address: ChosenAddress | None = None
        self.failed_connected = False

    async def run(self, clock: Clock) -> SessionRequest:
        """Return the session's request with all kept values filled in. Raises ProbeError."""
        self._timer.begin(Phase.BEFORE, self._timer.started)
        answer = await load_client()(self._before.http, await self._choose_address(), self._note_connected)
        try:
            filled = self._fill_in(answer)
        except UnfitValueError:
            raise ProbeError(ErrorKind.WRONG_REPLY, status=answer.status) from None
        self.failed_connected = False
        at = clock()
        self._timer.end(at)
        self._timer.begin(Phase.RESOLVE, at)
        return filled

    async def _choose_address(self) -> Address:
        if self._before.to_target:
            self.address = await resolve_address(self._request, self._resolver)
            return self.address.address
        http = self._before.http
        return (await self._resolver.resolve(http.connect_to or http.host, http.port, self._request.ip_protocol))[0]

    def _note_connected(self) -> None:
        self.failed_connected = True

    def _fill_in(self, answer: HttpAnswer) -> SessionRequest:
        """Keep what the profile wants and fill it in; raises UnfitValueError."""
        values = _json_values(answer.body)
        self._show(answer, values)
        if len(values) != 1:
            raise UnfitValueError
        kept = kept_values(self._before.rules, values[0])
        request = self._request
        request.session_messages.add_values(kept)
        return replace(
            request,
            resource=fill_resource(request.resource, kept),
            headers={**request.headers, **fill_headers(self._before.header_templates, kept)},
            subprotocols=fill_subprotocols(request.subprotocols, kept),
            secrets=(*request.secrets, *_forms_of(map(str, kept.values()))),
        )

    def _show(self, answer: HttpAnswer, values: tuple[Any, ...]) -> None:
        """Show the answer to the observer, if there is one; what would be kept is a secret even if the answer fails.

        Of an answer that is no JSON any part may be what is kept: all of it is secret.
        """
        if self._request.observer is not None:
            texts = texts_at_kept(self._before.rules, values) if values else [answer.body.decode("utf-8", "replace")]
            secrets = (*self._request.secrets, *_forms_of(texts))
            self._request.observer(SeenMessage(Direction.IN, answer.body, values=values or None, secrets=secrets))


def _before_of(request: SessionRequest) -> RequestBefore:
    if request.before is None:
        raise ValueError("the session has no request before the upgrade")
    return request.before


def _json_values(body: bytes) -> tuple[Any, ...]:
    """Return the JSON values of a body, two at most; none if it holds something else."""
    try:
        return tuple(codec_of("json").decode(body, 2).values)
    except FramingError:
        return ()


def _forms_of(texts: Iterable[str]) -> dict[str, None]:
    """Return the texts in each form in which kept values are sent."""
    return dict.fromkeys(form for text in texts for form in (text, quote(text.encode("utf-8", "replace"), safe="")))

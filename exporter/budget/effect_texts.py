"""What a finished session changed, as log lines."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from exporter.budget.session_cost import SettlementEffects

SETTLEMENT_TEXTS: Final = {
    "slot_limit": "the backend keeps fewer slots per user than configured: the lower number binds from now on",
    "identity_rests": "the identity rests: it takes no slot until the backend's slots are released",
    "token_cooldown": "the token was rejected and rests: none is sent until then; another key in its file is "
    "tried sooner",
    "endpoint_rests_until": "the endpoint limits the rate of connects: none is made until then",
}
"""Field of `SettlementEffects` → log line."""
UNTIL_EVIDENCE_TEXT: Final = (
    "the token was rejected and rests: one more in a row may open the backend's login breaker; none is sent until the "
    "backend restarts or another key is let in there"
)


class EffectLine(NamedTuple):
    """A log line, and the keys that it has beside target and identity."""

    text: str
    keys: Mapping[str, str | int | None]


def effect_lines(effects: SettlementEffects) -> Iterator[EffectLine]:
    """Yield a line for each change, in the order of the fields."""
    cooldown, endpoint_until = effects.token_cooldown, effects.endpoint_rests_until
    keys: dict[str, dict[str, str | int | None]] = {
        "slot_limit": {"slot_limit": effects.slot_limit},
        "token_cooldown": {"until": _utc_text(cooldown.until)} if cooldown and cooldown.until is not None else {},
        "endpoint_rests_until": {"until": _utc_text(endpoint_until)} if endpoint_until is not None else {},
    }
    texts = dict(SETTLEMENT_TEXTS)
    if not keys["token_cooldown"]:
        texts["token_cooldown"] = UNTIL_EVIDENCE_TEXT
    yield from (EffectLine(text, keys.get(field, {})) for field, text in texts.items() if getattr(effects, field))


def _utc_text(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"

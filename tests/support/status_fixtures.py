"""What the status page may be asked to show, made by hand: an incident among healthy targets."""

from dataclasses import replace

from exporter import __version__
from exporter.budget import IdentityStatus
from exporter.history import CycleMark, CycleOutcome, StateKind, TargetState
from exporter.history.history import CloseKey, FailureKey
from exporter.result import (
    ConnectionEnd,
    Direction,
    FactoryReason,
    Frame,
    Heartbeats,
    HeldConnection,
    HoldEnd,
    Holdup,
    Initiator,
    LineLevel,
    Opcode,
    Phase,
    Probe,
    Reason,
    RoundTrip,
    SkipCause,
    Trigger,
)
from exporter.web.page.values import ExporterHealth, TargetCard, TargetRow, TargetStanding
from support import report_cases as cases

NOW = 1757387160.0
"""2025-09-09 03:06:00 UTC."""

NAMES = (
    "api-prod-eu-west-1",
    "api-prod-us-east-1",
    "api-prod-ap-south-1",
    "chat-prod-eu-west-1",
    "chat-prod-us-east-1",
    "agents-prod",
    "notifications-prod",
    "preview",
    "loadtest",
    "partner-sandbox",
    "edge-canary",
)
POOL = ("pool-001", "pool-002", "uuid-001")


def at(name, result, ago):
    """The result as this target's, so many seconds ago."""
    return replace(result, target=name, started_at=NOW - ago)


def slots(held=(4, 4, 3), resting=()):
    return tuple(
        IdentityStatus(alias, number, 19, resting=True, holdup=Holdup.IDENTITY, until=NOW + 240)
        if alias in resting
        else IdentityStatus(alias, number, 19, resting=False)
        for alias, number in zip(POOL, held, strict=True)
    )


def marks(*spans, interval=20.0, until=NOW - 4):
    """Marks of (outcome, number, reason), oldest first, that end at `until`."""
    flat = [(outcome, reason) for outcome, number, reason in spans for _ in range(number)]
    return tuple(
        CycleMark(until - (len(flat) - 1 - place) * interval, outcome, reason)
        for place, (outcome, reason) in enumerate(flat)
    )


def row(name, state, result, **changes):
    """The row of a target by its last result."""
    url = f"wss://{name}.example.com/ws"
    shown = TargetRow(name, url, 20.0, state, marks((CycleOutcome.PASS, 60, "send")), result, slots())
    return replace(shown, **changes)


FRAMES = (
    Frame(0.213, Direction.IN, Opcode.TEXT, 612, "welcome"),
    Frame(0.213, Direction.IN, Opcode.TEXT, 48, "ping"),
    Frame(0.214, Direction.OUT, Opcode.TEXT, 31, "pong"),
    Frame(0.214, Direction.OUT, Opcode.TEXT, 74, "send"),
    Frame(0.233, Direction.IN, Opcode.TEXT, 171, "reply"),
    Frame(0.234, Direction.OUT, Opcode.CLOSE, 2, None, "1000"),
    Frame(0.246, Direction.IN, Opcode.CLOSE, 2, None, "1000"),
)


def passing(name, **changes):
    """A target that passes; its figures differ from another's by its name."""
    spread = sum(name.encode())
    scale = 0.3 + spread % 17 / 20
    last = replace(
        at(name, cases.PASSED, 4 + spread % 9),
        trigger=Trigger.SCHEDULE,
        phases={phase: took * scale for phase, took in cases.PHASES.items()},
        durations={probe: took * scale for probe, took in cases.PASSED.durations.items()},
        transcript=FRAMES,
    )
    state = TargetState(StateKind.PASSING, NOW - 86_400 * (1 + spread % 5) - spread * 7, result=last)
    held = slots((spread % 5, 4, spread % 4))
    closes = {CloseKey(1000, Initiator.LOCAL, Phase.CLOSE): 1080}
    return TargetCard(row(name, state, last, **{"identities": held, **changes}), 6, closes)


def failure(ago, identity, reason=FactoryReason.SLOT_LIMIT):
    limit = 20 if reason is FactoryReason.SLOT_LIMIT else None
    found = cases.failed(
        Phase.ADMISSION,
        Reason.FACTORY,
        "pass/pass/fail",
        factory_reason=reason,
        close=cases.remote(1011),
        slot_limit=limit,
    )
    found = replace(found, transcript=(Frame(0.213, Direction.IN, Opcode.CLOSE, 33, None, "1011"),))
    return replace(at("staging", found, ago), identity=identity, trigger=Trigger.SCHEDULE)


def staging():
    """A backend that leaks slots: the factory refuses one more connection."""
    found = [failure(4 + 20 * n, POOL[2 - n % 3]) for n in range(23)]
    found += [failure(9_000 + 20 * n, "pool-001", FactoryReason.INTERNAL_ERROR) for n in range(2)]
    shown = row(
        "staging",
        TargetState(StateKind.FAILING, NOW - 840, Probe.SEND, found[0]),
        found[0],
        marks=marks(
            (CycleOutcome.PASS, 11, "send"),
            (CycleOutcome.SKIP, 2, SkipCause.BUDGET),
            (CycleOutcome.PASS, 5, "send"),
            (CycleOutcome.FAIL, 42, FactoryReason.SLOT_LIMIT),
        ),
        identities=slots((19, 17, 19), POOL[:1]),
    )
    closes = {
        CloseKey(1000, Initiator.LOCAL, Phase.CLOSE): 1036,
        CloseKey(1011, Initiator.REMOTE, Phase.ADMISSION): 44,
        CloseKey(1006, Initiator.NONE, Phase.REPLY): 1,
    }
    reasons = {
        FailureKey(Phase.ADMISSION, Reason.FACTORY, FactoryReason.SLOT_LIMIT): 42,
        FailureKey(Phase.ADMISSION, Reason.FACTORY, FactoryReason.INTERNAL_ERROR): 2,
        FailureKey(Phase.REPLY, Reason.RESET): 1,
    }
    return TargetCard(shown, 6, closes, reasons, tuple(found), learned=20)


RESTART = ConnectionEnd(
    HoldEnd.RESTART, NOW - 5_000, 1_260, expected=False, close_code=1001, closed_by=Initiator.REMOTE
)
HELD = HeldConnection(
    NOW - 4_980,
    round_trips={
        LineLevel.PROTOCOL: RoundTrip(0.0031, 0.0117, NOW - 9),
        LineLevel.APPLICATION: RoundTrip(0.0214, 0.0633, NOW - 31),
    },
    heartbeats={
        LineLevel.PROTOCOL: Heartbeats(20.0, announced=False, last_at=NOW - 17),
        LineLevel.APPLICATION: Heartbeats(25.0, announced=True, last_at=NOW - 8),
    },
    last_end=replace(RESTART, how=HoldEnd.OVER, expected=True, age=3_600, close_code=1000, closed_by=Initiator.LOCAL),
    idle_cut=0.0,
    age_cut=0.0,
)
"""A held connection that nothing is wrong with."""


UNASKED = {**HELD.round_trips, LineLevel.APPLICATION: RoundTrip(0.0214, 0.0633, NOW - 1_630)}
DEAF = replace(HELD, deaf_since=NOW - 1_560, round_trips=UNASKED, last_end=RESTART)


def incident():
    """Twelve targets, one of them failing; cards by name."""
    shown = [staging(), *map(passing, NAMES)]
    blips = marks((CycleOutcome.PASS, 31, "send"), (CycleOutcome.FAIL, 2, "timeout"), (CycleOutcome.PASS, 27, "send"))
    skips = marks(
        (CycleOutcome.PASS, 40, "send"),
        (CycleOutcome.SKIP, 1, "late"),
        (CycleOutcome.PASS, 9, "send"),
        (CycleOutcome.DISTORTED, 1, "distorted"),
        (CycleOutcome.PASS, 9, "send"),
    )
    shown[4] = passing(NAMES[3], marks=blips)
    shown[7] = passing(NAMES[6], marks=skips)
    shown[5] = passing(NAMES[4], held=HELD)
    shown[8] = passing(NAMES[7], held=DEAF)
    shown[11] = passing(NAMES[10], marks=marks((CycleOutcome.PASS, 12, "send")), identities=())
    return {card.row.name: card for card in shown}


def healthy(names=NAMES):
    return {name: passing(name) for name in names}


HEALTH = ExporterHealth(
    version=__version__,
    started_at=NOW - 86_400 * 6.2,
    config_ok=True,
    config_at=NOW - 86_400 * 1.3,
    loop_lag=0.003,
    sessions=318_402,
    distorted=14,
    skips={"budget": 12, "late": 3, "distorted": 1},
    last_scrape=NOW - 7,
)


class Board:
    """What the server asks for, as a test sets it: cards by name, of which `put` changes one."""

    def __init__(self, cards=None, health=HEALTH, now=NOW):
        self.cards = dict(cards or {})
        self.health = health
        self.at = now
        self.changed = []

    def put(self, card):
        self.cards[card.row.name] = card
        self.changed.append(card.row.name)

    def now(self):
        return self.at

    def standings(self):
        return [TargetStanding(name, card.row.state) for name, card in self.cards.items()]

    def row(self, name):
        return self.cards[name].row if name in self.cards else None

    def card(self, name):
        return self.cards.get(name)

    def own_health(self):
        return self.health

    def changes(self, since):
        return len(self.changed), set(self.changed[since:])

"""What judges our figures: Prometheus of three versions, and VictoriaMetrics with vmalert of two, each with a pager.

Rule 1: the shipped files, scaled; of VictoriaMetrics with the flags that deploy/README.md has a user set. Rule 2: an
engine is started by a function that takes what all of them need (`Judged`) and yields what answers its queries.
"""

import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from drill.pace import SHIPPED, Pace
from drill.scaler import duration, scaled, seconds
from engines.labelled import EXTRA, labelled
from support.realservers import ENGINES as UNPACKED
from support.realservers import Prometheus, binary, newer, prometheus, started, stop

ROOT = Path(__file__).parents[2]
RULES, SCRAPES, SCRAPES_ALONE = ROOT / "alerts.yml", ROOT / "deploy/prometheus.yml", ROOT / "deploy/scrape.yml"
ADVISED = {"victoria-metrics": "-search.latencyOffset", "vmalert": "-rule.evalDelay"}
DELAY = "5s"
"""The flags of deploy/README.md and their value: rules of one evaluation must see the same samples, or a page comes
before the one that mutes it."""
SEEN_AFTER = Fraction(2)
"""Seconds until a query finds what VictoriaMetrics has scraped, however fast a drill is: none of its delays is less."""


def delayed(program, factor):
    """The advised flag, scaled."""
    return f"{ADVISED[program]}={float(max(seconds(DELAY) * factor, SEEN_AFTER)):g}s"


@dataclass(frozen=True)
class Judged:
    """What an engine is started with. `exporters`, `pager`: URLs; `external`: labels of the whole server.

    `extra`: whether it puts a label of its own on what the rules make. `pace`: how often it scrapes and judges.
    """

    exporters: tuple[str, ...]
    pager: str
    folder: Path
    factor: Fraction = Fraction(1)
    external: dict | None = None
    extra: bool = False
    pace: Pace = SHIPPED

    @property
    def alerts(self):
        """The rules at this pace, scaled."""
        return scaled("alerts", self.pace.rules(RULES.read_text()), self.factor)

    def rules(self, text):
        """The file of the rules."""
        file = self.folder / "alerts.yml"
        file.write_text(text)
        return file

    def scrapes(self, file):
        """A shipped config for these exporters; a placeholder that is gone is a failure."""
        text = scaled("prometheus", self.pace.scrapes(file.read_text()), self.factor)
        return put(
            text, "127.0.0.1:11011", "\n          - ".join(url.removeprefix("http://") for url in self.exporters)
        )


def put(text, old, new):
    """The text with `new` in the one place of `old`."""
    assert text.count(old) == 1, f"the shipped file no longer holds one {old!r}"
    return text.replace(old, new)


def prometheus_text(judged, rules):
    """The shipped prometheus.yml for these addresses."""
    text = put(judged.scrapes(SCRAPES), "../alerts.yml", str(rules))
    if judged.external:
        text = put(text, "global:\n", f"global:\n  external_labels: {json.dumps(judged.external)}\n")
    return put(text, "127.0.0.1:9093", judged.pager.removeprefix("http://"))


@asynccontextmanager
async def of_prometheus(judged, program):
    """Prometheus, which scrapes and judges."""
    rules = judged.rules(labelled(judged.alerts, "records") if judged.extra else judged.alerts)
    flags = [
        f"--query.lookback-delta={duration('5m', judged.factor)}",
        f"--rules.alert.resend-delay={duration('1m', judged.factor)}",
        f"--rules.alert.for-outage-tolerance={duration('1h', judged.factor)}",
        f"--rules.alert.for-grace-period={duration('10m', judged.factor)}",
    ]
    async with prometheus(prometheus_text(judged, rules), judged.folder, *flags, program=program("prometheus")) as one:
        yield one


@asynccontextmanager
async def of_victoria_metrics(judged, program):
    """VictoriaMetrics, which scrapes and keeps, and vmalert, which judges and writes ALERTS back."""
    config = judged.folder / "scrape.yml"
    config.write_text(judged.scrapes(SCRAPES_ALONE))
    rules = judged.rules(judged.alerts)

    def keeping(port):
        return [
            program("victoria-metrics"),
            f"-promscrape.config={config}",
            f"-storageDataPath={judged.folder / 'data'}",
            f"-httpListenAddr=127.0.0.1:{port}",
            "-loggerLevel=WARN",
            delayed("victoria-metrics", judged.factor),
        ]

    async with AsyncExitStack() as running:
        keeper, url = await started(keeping, "/health", judged.folder / "victoria-metrics.log")
        running.push_async_callback(stop, keeper)

        def judging(port):
            return [
                program("vmalert"),
                f"-rule={rules}",
                *(f"-{what}.url={url}" for what in ("datasource", "remoteRead", "remoteWrite")),
                f"-notifier.url={judged.pager}",
                f"-httpListenAddr=127.0.0.1:{port}",
                f"-datasource.queryStep={duration('5m', judged.factor)}",
                f"-remoteWrite.flushInterval={duration('2s', judged.factor)}",
                "-loggerLevel=WARN",
                *(f"-external.label={name}={value}" for name, value in EXTRA.items() if judged.extra),
                delayed("vmalert", judged.factor),
            ]

        judge, _ = await started(judging, "/health", judged.folder / "vmalert.log")
        running.push_async_callback(stop, judge)
        yield Prometheus(url)


def installed(name):
    """The path of a program of the machine's own Debian."""
    return binary(name, {"amtool": "prometheus-alertmanager"}.get(name, name))


def of(suite):
    """Finds the programs of a newer Debian's."""
    return lambda name: newer(name, suite)


@dataclass(frozen=True)
class Engine:
    """A row of the table. `judge`: starts it; `program`: name → path; `suite`: of Debian, None for the installed."""

    name: str
    judge: object
    suite: str | None = None
    extra: bool = False

    @property
    def program(self):
        """Name → path."""
        return of(self.suite) if self.suite else installed

    @property
    def title(self):
        """What it is, with its version, and whether it adds a label."""
        package = {of_prometheus: "prometheus", of_victoria_metrics: "victoria-metrics"}[self.judge]
        stamp = UNPACKED / f"{self.suite}/{package}.version"
        version = stamp.read_text().split("+")[0] if self.suite else "(installed)"
        return f"{package} {version}{' + label' if self.extra else ''}"


INSTALLED = Engine("installed", of_prometheus)
PLAIN = (
    INSTALLED,
    Engine("prometheus-trixie", of_prometheus, "trixie"),
    Engine("prometheus-sid", of_prometheus, "sid"),
    Engine("victoria-metrics-trixie", of_victoria_metrics, "trixie"),
    Engine("victoria-metrics-sid", of_victoria_metrics, "sid"),
)
ALL = tuple(
    Engine(one.name + end, one.judge, one.suite, extra)
    for one in PLAIN
    for end, extra in (("", False), ("-label", True))
)

"""What a scrape and an evaluation every 5 s cost beside every 15 s: ten minutes, in tests/

    ../.venv/bin/python -m bench.scraping [--targets 10,200,1000] [--seconds 60] [--json FILE]

An exporter in a process of its own that opens no session and knows every figure a target can have; a real Prometheus
with the shipped config and rules. Both tell their CPU by their own clock, so that a busy machine does little to it.

Rule 1: rules look back over more than a measurement lasts: so what they read when their windows are full is counted
(`samples_read`), and not measured.
"""

import argparse
import asyncio
import contextlib
import json
import re
import sys
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import promql_parser as promql
from bench.clients import cpu_seconds
from bench.scale import fetched, known
from drill.pace import PATIENT, SHIPPED
from engines.engines import INSTALLED, Judged, of_prometheus
from prometheus_client.parser import text_string_to_metric_families
from support import realservers
from support.alert_rules import GROUPS, agrees, found, matchers

PACES = (SHIPPED, PATIENT)
SIZES = (10, 200, 1000)
SETTLED = 20.0
"""Seconds until a measurement begins: Prometheus has made the series, and begun to evaluate."""
PATIENCE = 90.0
"""Seconds until the first scrape must have come, on a machine that does other things."""
NOBODY = "http://127.0.0.1:1"
"""Where no Alertmanager is: what is sent there is refused at once."""


@contextlib.asynccontextmanager
async def served(targets, folder):
    """The exporter: its process and its URL."""
    arguments = [sys.executable, "-m", "bench.scraping", "--under-test", str(targets), "--folder", str(folder)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *arguments, stdin=pipe, stdout=pipe, cwd=Path(__file__).parent.parent
    )
    try:
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


async def under_test(targets, folder):
    """Serve pages until stdin ends."""
    async with known(targets, folder) as daemon:
        print(daemon.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def of_pace(pace, exporter, times, folder):
    """What the two cost at a pace, per second, and how long a scrape and an evaluation took.

    `exporter`: its process and its URL; `times`: seconds until the measurement begins, and of it.
    """
    process, url = exporter
    settled, seconds = times
    folder.mkdir()
    judged = Judged((url,), NOBODY, folder, Fraction(1), pace=replace(pace, sample_limit=0))
    async with of_prometheus(judged, INSTALLED.program) as prometheus:
        await prometheus.until('scrape_samples_scraped{job="ws-factory-exporter"} > 0', PATIENCE)
        await _lives(process, settled)
        before = await _moment(prometheus, process)
        await _lives(process, seconds)
        after = await _moment(prometheus, process)
        took = after["at"] - before["at"]
        scrape = await prometheus.query(
            f'max_over_time(scrape_duration_seconds{{job="ws-factory-exporter"}}[{seconds:.0f}s])'
        )
        rules = (await _own(prometheus))["prometheus_rule_group_last_duration_seconds", "ws-factory.targets"]
    return {
        **{name: (after[name] - before[name]) / took for name in ("exporter", "prometheus", "samples")},
        "scrape": scrape[0][1],
        "evaluation": rules,
    }


async def _lives(process, seconds):
    """Let so many seconds pass; fails if the exporter ends meanwhile."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            raise AssertionError(f"the exporter has ended: {await process.wait()}")


async def _moment(prometheus, process):
    own = await _own(prometheus)
    return {
        "at": time.monotonic(),
        "exporter": cpu_seconds(process.pid),
        "prometheus": own["process_cpu_seconds_total", ""],
        "samples": own["prometheus_tsdb_head_samples_appended_total", ""],
    }


OWN = re.compile(r'^(\w+)(?:\{(?:type="float"|rule_group="[^"]*;([\w.-]+)")\})? (\S+)$', re.MULTILINE)


async def _own(prometheus):
    """Prometheus' own figures: (name, group of rules or "") → value."""
    text = await realservers.get(f"{prometheus.url}/metrics")
    return {(name, group): float(value) for name, group, value in OWN.findall(text)}


def series_of(page, target):
    """Name and labels of the series of a target."""
    own = "\n".join(line for line in page.splitlines() if f'target="{target}"' in line) + "\n"
    return [(sample.name, sample.labels) for family in text_string_to_metric_families(own) for sample in family.samples]


def samples_read(series, pace):
    """Samples a second that the rules read of these series, of one target, when their windows are full."""
    scrape = promql.parse_duration(pace.scrape).total_seconds()
    return sum(
        _of_selector(one.node, series) / scrape / _interval(group, pace)
        for group in GROUPS
        for rule in group["rules"]
        for one in found(promql.parse(rule["expr"]), promql.MatrixSelector)
    )


def _interval(group, pace):
    text = pace.evaluate if group["name"] == "ws-factory.targets" else group["interval"]
    return promql.parse_duration(text).total_seconds()


def _of_selector(node, series):
    """Seconds of series that a selector reads, over all the series it matches."""
    wanted = matchers(node.vector_selector)
    matching = [
        name
        for name, labels in series
        if name == node.vector_selector.name and all(agrees(labels.get(key, ""), op, text) for key, op, text in wanted)
    ]
    return len(matching) * node.range.total_seconds()


async def of_size(targets, times, paces=PACES):
    """All figures of so many targets."""
    with tempfile.TemporaryDirectory(prefix="scraping-") as folder:
        async with served(targets, folder) as (process, url):
            _, plain, text = await asyncio.to_thread(fetched, url, "identity")
            _, zipped, _ = await asyncio.to_thread(fetched, url, "gzip")
            one = series_of(text, "t0000")
            rows = {}
            for pace in paces:
                read = {"read": samples_read(one, pace) * targets}
                try:
                    cost = await of_pace(pace, (process, url), times, Path(folder) / pace.name)
                except TimeoutError:  # a busy machine makes no page of this size in time
                    cost = {}
                rows[pace.scrape] = {**cost, **read}
    return {"targets": targets, "plain": plain, "gzip": zipped, "paces": rows}


async def measure(sizes=SIZES, seconds=60.0):
    """All sizes, one after the other, each printed as it comes."""
    rows = []
    for targets in sizes:
        rows.append(await of_size(targets, (SETTLED, seconds)))
        print(*lines(rows[-1]), sep="\n", flush=True)
    return rows


HEAD = (
    "targets", "every", "page KB, gzip", "scrape s", "evaluation s", "exporter CPU", "Prometheus CPU", "samples/s kept",
    "samples/s read by rules",
)  # fmt: skip


MEASURED = {
    "scrape": "{:.3f}", "evaluation": "{:.3f}", "exporter": "{:.1%}", "prometheus": "{:.1%}", "samples": "{:,.0f}",
}  # fmt: skip
"""Columns that a measurement fills, and how; `-` if no scrape came within its interval."""


def cells(found):
    """Rows of the table."""
    for every, cost in found["paces"].items():
        measured = (form.format(cost[name]) if name in cost else "-" for name, form in MEASURED.items())
        yield f"{found['targets']:,}", every, f"{found['gzip'] / 1e3:.0f}", *measured, f"{cost['read']:,.0f}"


def lines(found):
    """The rows as text."""
    for row in cells(found):
        yield "  ".join(cell.rjust(len(name)) for cell, name in zip(row, HEAD, strict=True))


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", default=",".join(map(str, SIZES)), help="how many, each a row")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a measurement")
    parser.add_argument("--json", type=Path, help="where all figures go")
    parser.add_argument("--under-test", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.under_test is not None:
        asyncio.run(under_test(asked.under_test, asked.folder))
        return
    print("  ".join(HEAD), flush=True)
    rows = asyncio.run(measure(list(map(int, asked.targets.split(","))), asked.seconds))
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

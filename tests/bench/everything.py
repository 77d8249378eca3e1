"""All benchmarks, one after the other, and BENCHMARKS.md: `make bench`, half an hour on an idle machine.

    cd tests && python -m bench.everything [--quick] [--out FOLDER]

Figures of five runs are told as their median, the worst beside it. `--quick` is for who changes this file.
"""

import argparse
import asyncio
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench import page, scale, scraping
from bench.fidelity import row as fidelity_row
from bench.fidelity import run_once

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TEMPLATE = HERE / "BENCHMARKS.in.md"


BESIDE = {"": "", "thief": ", one core stolen", "junk": ", junk by HTTP"}


@dataclass(frozen=True)
class Scenario:
    """One row of the fidelity table: so many targets, so often measured for so many seconds."""

    targets: int
    tls: bool
    runs: int
    seconds: float
    beside: str = ""

    @property
    def name(self):
        return f"{self.targets:,} {'wss' if self.tls else 'ws'}{BESIDE[self.beside]}"


SCENARIOS = (
    Scenario(10, tls=False, runs=1, seconds=60),
    Scenario(10, tls=True, runs=1, seconds=60),
    *(Scenario(targets, tls=tls, runs=5, seconds=31) for targets in (200, 1000) for tls in (False, True)),
    Scenario(200, tls=True, runs=2, seconds=31, beside="thief"),
    Scenario(1000, tls=True, runs=2, seconds=31, beside="thief"),
    *(Scenario(targets, tls=True, runs=2, seconds=31, beside="junk") for targets in (200, 1000)),
    Scenario(5000, tls=False, runs=1, seconds=46),
    Scenario(5000, tls=True, runs=1, seconds=46),
)
QUICK = (Scenario(5, tls=False, runs=2, seconds=16), Scenario(5, tls=True, runs=1, seconds=16))
SIZES = (10, 100, 1000, 5000)
PAGE_SIZES = (12, 50, 200, 1000)


async def fidelity(scenarios, found, keep):
    """Add the outcomes of each scenario's runs, as plain mappings, to those that are found already."""
    print(fidelity_row(), flush=True)
    for scenario in scenarios[len(found) :]:
        runs = []
        for _ in range(scenario.runs):
            with tempfile.TemporaryDirectory() as folder:
                asked = {"targets": scenario.targets, "tls": scenario.tls, "beside": scenario.beside}
                outcome = await run_once(**asked, seconds=scenario.seconds, folder=Path(folder))
            print(fidelity_row(outcome), flush=True)
            runs.append(outcome.plain())
        found.append({"name": scenario.name, "runs": runs})
        keep()


def cost(quick):
    """The cost benches in processes of their own, as they are run by hand; their figures and printed tables."""

    def printed(program, *arguments):
        command = [sys.executable, str(HERE / program), *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "cost.json"
        few = ["--sessions", "50", "--repeats", "2"] if quick else []
        table = printed("cost.py", "--json", str(out), *few)
        print(table, flush=True)
        profile = printed("cost.py", "--profile", *few[:2])
        parts = profile[profile.rfind("\n\n") :].strip("\n")  # the table behind the profile, which names our paths
        in_place = printed("in_place.py", *few[:2]).rstrip()
        return {"figures": json.loads(out.read_text()), "table": table, "parts": parts, "in_place": in_place}


# Told -----------------------------------------------------------------------------------------------------------------


def two(values, form="{:.3f}"):
    """The median of some runs, and the worst beside it if there are more than one."""
    values = list(values)
    shown = form.format(median(values))
    return shown if len(values) == 1 else f"{shown} ({form.format(max(values))})"


def of_phase(phase, figure):
    return lambda run: run[phase]["truth"][figure]


FIDELITY: dict[str, Callable] = {
    "reply p99": of_phase("reply", "p99"),
    "reply p99.9": of_phase("reply", "p99_9"),
    "reply max": of_phase("reply", "max"),
    "admission p99": of_phase("admission", "p99"),
    "admission p99.9": of_phase("admission", "p99_9"),
    "admission max": of_phase("admission", "max"),
    "start-up max": lambda run: max(run[phase]["start_up_truth"]["max"] for phase in ("reply", "admission")),
}


def markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def errors_table(found):
    head = ["targets", "sessions", *(f"{name}, ms" for name in FIDELITY), "distorted", "failed", "unjoined", "skips"]
    return markdown(head, [_errors(scenario) for scenario in found])


def _errors(scenario):
    runs = scenario["runs"]
    return [
        scenario["name"],
        sum(run["sessions"] for run in runs),
        *(two(map(figure, runs)) for figure in FIDELITY.values()),
        two((100 * run["distorted"] for run in runs), "{:.2f} %"),
        sum(run["failures"] for run in runs),
        sum(run["without_truth"] + run["without_session"] for run in runs),
        sum(sum(map(int, run["skips"].values())) for run in runs),
    ]


def load_table(found):
    head = ["targets", "CPU of one core", "scrape, s", "status page, s", "resident MB", "loop late at worst, s"]
    return markdown(head, [_load(scenario) for scenario in found])


def _load(scenario):
    runs = scenario["runs"]
    return [
        scenario["name"],
        two((100 * run["exporter"]["cpu"] for run in runs), "{:.0f} %"),
        two(run["scrape"]["median"] for run in runs),
        two(run["page"]["max"] for run in runs),
        two((run["exporter"]["rss"] for run in runs), "{:.0f}"),
        two(run["lag"] for run in runs),
    ]


def scale_table(found):
    return markdown(
        [name.strip() for name in scale.COLUMNS], [[cell(row) for cell in scale.COLUMNS.values()] for row in found]
    )


def page_table(found):
    return markdown(
        [name.strip() for name in page.COLUMNS], [[cell(row) for cell in page.COLUMNS.values()] for row in found]
    )


def scraping_table(found):
    return markdown(list(scraping.HEAD), [row for one in found for row in scraping.cells(one)])


def bars(found):
    """The figures that the bars of issues 4 and 5 speak of."""
    by_name = {scenario["name"]: scenario["runs"] for scenario in found["fidelity"]}
    sizes = {row["targets"]: row for row in found["scale"]}
    told = (*_fidelity_bars(by_name), *_scale_bars(sizes), *_cost_bars(found), *_page_bars(found))
    rows = [[what, bar, figures] for what, bar, figures in told]
    return markdown(["figure", "bar", "measured: median (worst)"], rows)


def _fidelity_bars(by_name):
    limits = {
        "200 ws": "≤ 0.5 / 3 ms",
        "200 wss": "≤ 0.8 / 4 ms",
        "1,000 ws": "≤ 1.5 / 8 ms",
        "1,000 wss": "≤ 1.5 / 8 ms",
        "200 wss, junk by HTTP": "≤ 0.8 / 4 ms",
        "1,000 wss, junk by HTTP": "≤ 1.5 / 8 ms",
    }
    for name, runs in by_name.items():
        for phase in ("reply", "admission"):
            p99, most = (two(map(of_phase(phase, figure), runs)) for figure in ("p99", "max"))
            yield f"{phase}, reported − true, {name}: p99 / max", limits.get(name, "printed"), f"{p99} / {most} ms"
    for name in ("1,000 ws", "1,000 wss", "1,000 wss, junk by HTTP"):
        if name in by_name:
            shares = two((100 * run["distorted"] for run in by_name[name]), "{:.2f} %")
            yield f"sessions marked distorted, {name}", "≤ 0.5 %", shares


def _scale_bars(sizes):
    large = sizes.get(1000)
    if large is None:
        return
    holds = [f"{large[form]['hold']:.2f} ({large[form]['worst_hold']:.2f})" for form in ("gzip", "identity")]
    yield "longest hold of the loop by a scrape, 1,000 targets: gzip / plain", "≤ 2 ms", " / ".join(holds) + " ms"
    seconds = " / ".join(f"{large[form]['median']:.3f} ({large[form]['worst']:.3f})" for form in ("gzip", "identity"))
    yield "scrape of 1,000 targets: gzip / plain", "≤ 0.5 s", f"{seconds} s"
    megabytes = " / ".join(f"{large[form]['bytes'] / 1e6:.2f}" for form in ("identity", "gzip"))
    yield "its bytes: plain / gzip", "≤ 30 / ≤ 2 MB", f"{megabytes} MB"
    base, many = sizes[10]["memory"]["at_work"], large["memory"]["at_work"]
    each = (many - base) * 1024 / (1000 - 10)
    yield (
        "resident memory: ten targets at work / each further one, wss",
        "≤ 75 MB / ≤ 60 KB",
        f"{base:.1f} MB / {each:.0f} KB",
    )


def _cost_bars(found):
    for comparison in found["cost"]["figures"]["comparisons"]:
        if comparison["in_flight"] != 50:
            continue
        scheme, contenders = "wss" if comparison["tls"] else "ws", comparison["contenders"]
        ratio = contenders["ours"]["ratio"]
        bar = "printed" if comparison["tls"] else "≤ 1.3 ×"
        yield f"CPU per session, {scheme}, 50 in flight, to the plain `websockets` client", bar, f"{ratio:.2f} ×"
        for name, figures in contenders.items():
            if name.startswith("blackbox"):
                to = contenders["ours"]["median"] / figures["median"]
                yield f"the same, to {name} end to end over HTTP, {scheme}", "≤ 1.0 × aimed at", f"{to:.2f} ×"


def _page_bars(found):
    for one in found.get("page", ()):
        if one["targets"] == 50:
            paint = one["paint"]
            figures = f"{paint['median']:.0f} ({paint['worst']:.0f}) ms; of a page of one word {paint['word']:.0f} ms"
            yield "first paint of the status page in Chromium, 50 targets, from loopback", "≤ 100 ms", figures


def machine():
    """What it ran on, in words."""
    info = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    names = {line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")}
    cores = info.count("processor\t")
    return f"{', '.join(sorted(names))}, {cores} cores; Linux {platform.release()}; Python {platform.python_version()}"


def revision():
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "unknown"


def document(found):
    """BENCHMARKS.md of these figures."""
    text = TEMPLATE.read_text(encoding="utf-8")
    parts = {
        "when": found["when"],
        "machine": found["machine"],
        "revision": found["revision"],
        "bars": bars(found),
        "errors": errors_table(found["fidelity"]),
        "load": load_table(found["fidelity"]),
        "scale": scale_table(found["scale"]),
        "page": page_table(found.get("page", ())),
        "scraping": scraping_table(found.get("scraping", ())),
        "cost": found["cost"]["table"].rstrip(),
        "parts": found["cost"]["parts"],
        "in_place": found["cost"]["in_place"],
    }
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part)
    return text


def measured(asked, raw):
    """All figures, written as they come: what breaks off after half an hour leaves what it has, for `--resume`."""
    kept = raw.with_suffix(".part.json")

    def keep():
        kept.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    if asked.resume and kept.exists():
        found = json.loads(kept.read_text(encoding="utf-8"))
    else:
        found = {"when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "machine": machine(), "revision": revision()}
    parts = {
        "cost": lambda: cost(asked.quick),
        "scale": lambda: asyncio.run(scale.measure((10, 20) if asked.quick else SIZES)),
        "page": lambda: asyncio.run(page.measure((2, 50) if asked.quick else PAGE_SIZES)),
        "scraping": lambda: asyncio.run(scraping.measure((2,) if asked.quick else scraping.SIZES)),
    }
    heads = {"scale": scale.row, "page": page.row, "scraping": lambda: "  ".join(scraping.HEAD)}
    for name, measure in parts.items():
        if name not in found:
            print(heads[name]() if name in heads else "", flush=True)
            found[name] = measure()
            keep()
    scenarios = [replace(one, runs=min(one.runs, asked.runs)) for one in (QUICK if asked.quick else SCENARIOS)]
    asyncio.run(fidelity(scenarios, found.setdefault("fidelity", []), keep))
    kept.rename(raw)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and short: to try this file, not to measure")
    parser.add_argument("--runs", type=int, default=5, help="of a scenario, at most: less time, less certainty")
    parser.add_argument("--out", type=Path, default=ROOT, help="the folder of BENCHMARKS.md; default: the repository")
    parser.add_argument("--resume", action="store_true", help="go on where a run was broken off")
    parser.add_argument("--again", action="store_true", help="write the page again from the figures of the last run")
    asked = parser.parse_args()
    raw = (HERE if asked.out == ROOT else asked.out) / "results.json"
    found = json.loads(raw.read_text(encoding="utf-8")) if asked.again else measured(asked, raw)
    told = asked.out / "BENCHMARKS.md"
    told.write_text(document(found), encoding="utf-8")
    print(f"\n{bars(found)}\n\nwritten: {told}, {raw}")


if __name__ == "__main__":
    main()

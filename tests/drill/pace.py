"""How often this job is scraped and its rules evaluated, and how long a page waits for others: what a site may choose.

Rule 1: a pace is put into the text of the shipped files, before anything is scaled, and nowhere else; what it replaces
must stand there. Rule 2: `SHIPPED` changes nothing.
"""

from dataclasses import dataclass

SCRAPES, EVALUATES, WAITS = "    scrape_interval: 5s\n", "    interval: 5s\n", "      group_wait: 500ms\n"
LIMIT = "    sample_limit: 10000\n"
"""Where the shipped files say it."""


@dataclass(frozen=True)
class Pace:
    """Durations as Prometheus writes them. `sentinel`: the target's, or None; `sample_limit`: of a scrape, 0: none."""

    name: str
    scrape: str = "5s"
    evaluate: str = "5s"
    group_wait: str = "500ms"
    sentinel: dict | None = None
    sample_limit: int = 10000

    def scrapes(self, text):
        """A config of Prometheus, which scrapes the job at this pace."""
        return _put(_put(text, SCRAPES, self.scrape), LIMIT, self.sample_limit)

    def rules(self, text):
        """The rules, those of the targets at this pace."""
        return _put(text, EVALUATES, self.evaluate)

    def routes(self, text):
        """A config of Alertmanager, whose pages wait so long."""
        return _put(text, WAITS, self.group_wait)


def _put(text, line, value):
    assert text.count(line) == 1, f"the shipped file no longer holds one {line.strip()!r}"
    return text.replace(line, f"{line.partition(':')[0]}: {value}\n")


SHIPPED = Pace("shipped")
PATIENT = Pace("patient", scrape="15s", evaluate="15s", group_wait="2s")
"""As Prometheus sites mostly are. A drill that is scaled is played at it: 5 s times 1/12 is too often for two cores."""

"""The cost of one read of a backend's own figures."""

from urllib.parse import urlsplit

from exporter.budget import SessionCost, endpoint_id
from exporter.plan.job import Job
from exporter.result import Probe, Trigger


def stats_cost(job: Job, run: str, due: float, key_fingerprint: str) -> SessionCost:
    """Return the cost: one connect to the target's host, no slot, and the token if one is sent."""
    stats = job.target.stats
    sends_token = stats is not None and stats.identity is not None
    cost = job.session_cost(run, Probe.CONNECT, None, Trigger.SIDE_PROBE, due=due)
    parts = urlsplit(stats.url if stats is not None else "")
    return cost._replace(
        key=job.key if sends_token else None,
        key_fingerprint=key_fingerprint if sends_token else "",
        breakers=cost.breakers if sends_token else (),
        guards_logins=cost.guards_logins and sends_token,
        before_host=None,
        open_for=job.target.timeout,
        endpoint=endpoint_id(parts.scheme, parts.netloc, parts.path or "/"),
    )

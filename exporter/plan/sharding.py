"""Which of several exporters probes a target (`--shard i/n`).

Rule 1: rendezvous hashing of the target's name (Thaler and Ravishankar, 1998) puts every target on exactly one shard.
An additional shard takes about 1/n of the targets and moves no others.
Rule 2: a target moves with all its identities: two shards never use the same user of it.
"""

import hashlib
from dataclasses import dataclass, replace

from exporter.plan.planning import Plan


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` exporters that share a config; `index` counts from 0."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def has(self, target: str) -> bool:
        """Whether the target belongs to this shard."""
        return max(range(self.count), key=lambda index: _weight(index, target)) == self.index


def shard_of(plan: Plan, shard: Shard) -> Plan:
    """Return this shard's part of a plan; the load that all shards put on users and hosts stays as it is."""
    return replace(plan, jobs=tuple(job for job in plan.jobs if shard.has(job.name)))


def _weight(index: int, target: str) -> bytes:
    return hashlib.sha256(f"{index}\0{target}".encode()).digest()

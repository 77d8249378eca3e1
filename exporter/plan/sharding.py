"""Which exporter of several probes a target (`--shard i/n`).

Rule 1: by the target's name alone, by rendezvous hashing (Thaler and Ravishankar, 1998): every target is on exactly
one shard; one shard more takes about 1/n of the targets, each from where it was, and moves no other.
Rule 2: a target moves whole, its identities with it: two shards never speak as one user of it.
"""

import hashlib
from dataclasses import dataclass, replace

from exporter.plan.planning import Plan


@dataclass(frozen=True, slots=True)
class Shard:
    """The `index`-th (from 0) of `count` exporters that share a config."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def has(self, target: str) -> bool:
        """True if the target is this shard's."""
        return max(range(self.count), key=lambda index: _weight(index, target)) == self.index


def shard_of(plan: Plan, shard: Shard) -> Plan:
    """The share of a plan that is this shard's; what all shards together do to a user and to a host stays as it is."""
    return replace(plan, jobs=tuple(job for job in plan.jobs if shard.has(job.name)))


def _weight(index: int, target: str) -> bytes:
    return hashlib.sha256(f"{index}\0{target}".encode()).digest()

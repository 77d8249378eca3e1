"""The reference backend as a process of its own (`reference.py`): started, asked for its truth, stopped."""

import asyncio
import contextlib
import json
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from support import certificates
from support.realservers import stop

PROGRAM = Path(__file__).parent / "reference.py"
HOST = "127.0.0.1"
PATIENCE = 30.0
ADMISSION, REPLY = (0.005, 0.1), (0.002, 0.05)
"""Seconds: the injected delays lie between these, if nothing else is asked for."""


@dataclass(frozen=True)
class Reference:
    """A running reference backend; `harness.target` takes it for a stand-in."""

    process: asyncio.subprocess.Process
    ports: dict
    key_file: Path
    ca_file: Path
    truth_file: Path | None

    def url(self, path, *, tls=False):
        """Where a path of it is."""
        return f"{'wss' if tls else 'ws'}://{HOST}:{self.ports['tls_port' if tls else 'port']}{path}"

    async def truth(self):
        """The truth of every session, by run. Ends the process."""
        await stop(self.process)
        lines = self.truth_file.read_text(encoding="ascii").splitlines()
        return {line["run"]: line for line in map(json.loads, lines)}


@contextlib.asynccontextmanager
async def reference(folder, *, seed=0, admission=ADMISSION, reply=REPLY, truth=True):
    """A reference backend with a plain and a TLS port; stopped at the end.

    `truth` False: it stamps nothing and remembers nothing, the cheapest there is.
    """
    made = _files(folder)
    truth_file = folder / "truth.jsonl" if truth else None
    if truth_file is not None:
        truth_file.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAM),
        f"--seed={seed}",
        f"--tls-cert={made['server.pem']}",
        f"--tls-key={made['server.pem']}",
        f"--admission={admission[0]}:{admission[1]}",
        f"--reply={reply[0]}:{reply[1]}",
        *([f"--truth={truth_file}"] if truth else []),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            ports = json.loads(await process.stdout.readline())
        yield Reference(process, ports, made["key"], made["ca.pem"], truth_file)
    finally:
        await stop(process)


def _files(folder):
    """A key for tokens, a certificate with its key, and what trusts it."""
    authority = certificates.authority()
    contents = {
        "key": secrets.token_hex(32).encode(),
        "server.pem": authority.issue(HOST),
        "ca.pem": authority.pem,
    }
    made = {name: folder / name for name in contents}
    for name, file in made.items():
        file.touch(mode=0o600)
        file.write_bytes(contents[name])
    return made

"""A stand-in in a process of its own, to be killed or frozen: prints its URL and the file of its key, and runs.

python -m drill.standin_process PATH    (in tests/)
"""

import asyncio
import json
import sys

from exporter.standin import StandIn

SLOTS = 64
"""Of a user, as many as three probers need: a slot is held for five minutes."""


async def main(path):
    """Serve until the process is ended."""
    async with StandIn.start(tls_port=None, slots=SLOTS) as standin:
        print(json.dumps([standin.url(path), str(standin.key_file)]), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

"""What every test with a real server rests on: it comes up, whoever else takes a port meanwhile."""

import socket

from support import realservers


async def test_a_port_taken_meanwhile_by_somebody_silent_costs_a_try(tmp_path, monkeypatch):
    """A free port is known to be free only when it was asked for: another test may listen there and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        taken, free = silent.getsockname()[1], realservers.free_port()
        ports = iter([taken, free])
        monkeypatch.setattr(realservers, "free_port", lambda: next(ports))

        async with realservers.nginx(str, tmp_path, ports=0) as server:
            assert await realservers.get(f"http://127.0.0.1:{free}/ready") == ""
            assert server.process.returncode is None

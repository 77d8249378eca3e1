"""What `demo` shows: the stand-in at ten times its speed, and the config of an exporter that probes it."""

from typing import Final

from exporter.standin.timings import Timings

DEMO_TIME_SCALE: Final = 0.1
DEMO_TIMINGS: Final = Timings().scaled(DEMO_TIME_SCALE)


def demo_config(url: str, key_file: str) -> dict[str, object]:
    """The config of an exporter that probes the stand-in at `url`, with its `key_file`."""
    users = {f"pool-00{n}": f"staging-demo-user-00{n}" for n in (1, 2)}
    return {
        "targets": [
            {
                "name": "demo",
                "url": url,
                "interval": "3s",
                "timeout": "2s",
                "close_timeout": "500ms",
                "identities": {**users, "uuid-001": "6f1d0f3e-8a57-4b8e-9d0e-2f6a1f0c9a11"},
                "auth": {
                    "jwt": {
                        "key_file": key_file,
                        "claims": {"iss": "netra-auth-service", "aud": "netra-platform", "token_type": "access"},
                    }
                },
                "confirm": {"after": "500ms"},
                "limits": {"slot_release": f"{300 * DEMO_TIME_SCALE:.0f}s"},
            }
        ]
    }

"""Where the pages arrive: a webhook receiver on loopback that keeps every notification and when it came."""

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True)
class Notification:
    """One POST of Alertmanager. `at`: unix seconds; `receiver`: `page`, `ticket` or `alive`."""

    at: float
    receiver: str
    status: str
    alerts: tuple[dict, ...]

    @property
    def target(self):
        """The target it is about, or None."""
        return self.alerts[0]["labels"].get("target")

    @property
    def names(self):
        """What it tells as firing: alert/severity, sorted."""
        return sorted(named(alert["labels"]) for alert in self.alerts if alert["status"] == "firing")

    @property
    def text(self):
        """The descriptions of what it tells as firing."""
        return "\n".join(alert["annotations"]["description"] for alert in self.alerts if alert["status"] == "firing")


def named(labels):
    """An alert as the table writes it."""
    return f"{labels['alertname']}/{labels['severity']}"


@asynccontextmanager
async def webhook():
    """Its URL and the growing list of notifications."""
    heard = []

    async def hear(request):
        told = await request.json()
        heard.append(Notification(time.time(), request.match_info["receiver"], told["status"], tuple(told["alerts"])))
        return web.Response()

    application = web.Application()
    application.router.add_post("/{receiver}", hear)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", heard
    finally:
        await runner.cleanup()

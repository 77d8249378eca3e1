"""The pictures of the status page for the README: an incident among healthy targets, light and dark.

make screenshots
"""

import asyncio
import sys
from pathlib import Path

from exporter.web import ListenAddress, WebServer
from support import browsing, status_fixtures
from support.fake_site import Shown
from support.paths import ROOT
from support.png import indexed

FOLDER = ROOT / "deploy" / "screenshots"
SCHEMES = ("light", "dark")
MOST = 200_000
"""Bytes of a picture: it is loaded by everybody who reads the README."""


async def take(browser, folder):
    """One picture for each scheme, 1280 pixels wide, as long as the page is; their paths."""
    shown = Shown()
    shown.status_board = status_fixtures.Board(status_fixtures.incident())
    server = await WebServer.start(ListenAddress("127.0.0.1", 0), shown)
    pictures = []
    try:
        for scheme in SCHEMES:
            async with browsing.tab(browser, server.url, color_scheme=scheme) as seen:
                await seen.is_live()
                pictures.append(folder / f"status-{scheme}.png")
                await seen.page.screenshot(path=pictures[-1], full_page=True)
    finally:
        await server.close()
    return pictures


async def main(folder):
    async with browsing.chromium() as browser:
        for picture in await take(browser, folder):
            picture.write_bytes(indexed(picture.read_bytes()))
            print(f"{picture}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))

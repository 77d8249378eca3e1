"""Debian's Chromium for the tests, and tabs in it that tell whatever is wrong with a page.

One browser for a session of tests; each tab has a context of its own, as if in a fresh profile.
"""

from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright

from support.realservers import binary, until

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--disable-font-subpixel-positioning",
    "--disable-lcd-text",
    "--host-resolver-rules=MAP *.test 127.0.0.1",
]
"""CI is root, which Chromium's sandbox refuses."""

VIOLATIONS = """
window.violations = [];
addEventListener('securitypolicyviolation', (event) => window.violations.push(event.violatedDirective));
"""
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}


@asynccontextmanager
async def chromium():
    """The browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=binary("chromium", "chromium"), args=ARGUMENTS, chromium_sandbox=False
        )
        try:
            yield browser
        finally:
            await browser.close()


class Tab:
    """A page that is open, and what was wrong with it: errors on its console, requests elsewhere."""

    def __init__(self, page, origin):
        self.page = page
        self.origin = origin
        self.errors, self.elsewhere, self.requests = [], [], []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)

    def _said(self, message):
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _asked(self, request):
        parts = urlsplit(request.url)
        self.requests.append(parts.path)
        if f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.elsewhere.append(request.url)

    async def nothing_is_wrong(self):
        """No error, no violation of the policy, no request to anybody else."""
        assert not self.errors, self.errors
        assert not self.elsewhere, self.elsewhere
        assert await self.page.evaluate("window.violations ?? []") == []

    async def is_accessible(self):
        """Nothing that axe finds: names, contrast, headings, landmarks, roles."""
        found = await Axe().run(self.page)
        assert found.violations_count == 0, found.generate_report()

    async def until(self, function, arg=None):
        """A function of the page gives something true, now or soon; its own waiting would need `unsafe-eval`."""
        return await until(lambda: self.page.evaluate(function, arg))

    async def is_live(self):
        """Updates are streaming in."""
        await self.until("() => document.getElementById('live').textContent === 'live'")

    async def title_is(self, title):
        """The tab says so, now or soon."""
        await self.until("(title) => document.title === title", title)

    @property
    def order(self):
        """Names of the targets, from top to bottom."""
        return self.page.eval_on_selector_all(".target", "all => all.map(one => one.dataset.target)")


@asynccontextmanager
async def tab(browser, url, *, path="/", script=True, viewport=WIDE, **options):
    """A tab that has loaded a path of a server."""
    context = await browser.new_context(viewport=viewport, java_script_enabled=script, **options)
    try:
        await context.add_init_script(VIOLATIONS)
        page = await context.new_page()
        parts = urlsplit(url)
        shown = Tab(page, f"{parts.scheme}://{parts.netloc}")
        await page.goto(url + path)
        yield shown
    finally:
        await context.close()

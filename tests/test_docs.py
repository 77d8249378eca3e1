"""The documentation: the site builds without a warning, and takes nothing from another host."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RESOURCE = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*?\ssrc=["']?(?:https?:)?//[^"'\s>]+|<link\b[^>]*?rel=["']?(?:stylesheet|preload|preconnect)[^>]*?href=["']?(?:https?:)?//[^"'\s>]+"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_the_site_has_a_page_for_each_document_and_each_alert(site):
    """Each page of docs/ and of the runbook is a page of the site."""
    written = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    runbook = [Path("runbook", path.name) for path in (ROOT / "deploy" / "runbook").glob("*.md")]

    missing = [page for page in (*written, *runbook) if not _built(site, page).is_file()]

    assert written
    assert missing == []


def _built(site, page):
    return site / (page.with_name("index.html") if page.name == "README.md" else page.with_suffix(".html"))


def test_the_site_takes_nothing_from_another_host(site):
    """A page loads no script, style, font or picture from elsewhere: it can be read where the network is not."""
    foreign = {
        f"{page.relative_to(site)}: {found}"
        for page in site.rglob("*.html")
        for found in RESOURCE.findall(page.read_text("utf-8"))
    }

    assert foreign == set()
    assert RESOURCE.search('<script src="https://unpkg.com/iframe-worker/shim"></script>')

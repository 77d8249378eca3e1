"""Every case of the rules on every engine's own test tool; what `make test` leaves to `make engines`.

    pytest tests/engines/cases.py

Debian 12's promtool and Prometheus 3's play them in test_alerts.py.
"""

import subprocess
from pathlib import Path

import pytest
from support.realservers import newer

ROOT = Path(__file__).parents[2]
CASES = sorted(path.name for path in (ROOT / "tests/data").glob("alerts-*.yml"))
TOOLS = {
    "promtool-trixie": ("trixie", "promtool", "test", "rules", "{file}"),
    "vmalert-tool-trixie": ("trixie", "vmalert-tool", "unittest", "--disableAlertgroupLabel", "--files={file}"),
    "vmalert-tool-sid": ("sid", "vmalert-tool", "unittest", "--disableAlertgroupLabel", "--files={file}"),
}
"""Suite of Debian, program, arguments: as deploy/README.md tells them."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("case", CASES)
def test_the_rules_fire_and_stay_silent_as_their_cases_say(case, tool):
    """Texts included."""
    suite, name, *arguments = TOOLS[tool]
    command = [newer(name, suite), *(word.format(file=f"tests/data/{case}") for word in arguments)]
    tested = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr

"""The files for contributors: a workflow, templates, hooks, settings of editors, and how to report a vulnerability."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT

BIN = Path(sys.executable).parent
GITHUB = ROOT / ".github"
WORKFLOW = yaml.safe_load((GITHUB / "workflows/ci.yml").read_text("utf-8"))


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("github-workflows", "workflows/ci.yml"),
        ("github-issue-config", "ISSUE_TEMPLATE/config.yml"),
        ("github-issue-forms", "ISSUE_TEMPLATE/bug.yml"),
        ("github-issue-forms", "ISSUE_TEMPLATE/feature.yml"),
    ],
)
def test_a_file_of_the_forge_is_valid(schema, file):
    """check-jsonschema accepts it, by the schema of its kind."""
    command = [BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", GITHUB / file]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_the_workflow_may_read_and_runs_what_any_ci_runs():
    """Its token reads and no more; each action is pinned to a commit; the last step is .ci/run."""
    (job,) = WORKFLOW["jobs"].values()
    used = [step["uses"] for step in job["steps"] if "uses" in step]

    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert used
    assert [action for action in used if not re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action)] == []
    assert job["steps"][-1]["run"] == "bash .ci/run"
    assert "secrets." not in (GITHUB / "workflows/ci.yml").read_text("utf-8")


def test_each_hook_is_a_tool_of_this_repository():
    """Hooks run what `make install` installs: there is no second version of a tool."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    programs = {hook["entry"].split()[0] for hook in repository["hooks"]}

    assert repository["repo"] == "local"
    assert [program for program in programs if not (BIN / Path(program).name).exists()] == []
    assert {Path(program).parent.as_posix() for program in programs} == {".venv/bin"}


def test_the_settings_of_the_editor_hold():
    """No file has trailing blanks, a carriage return, or no line end; Python is indented as the formatter does."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "*.py", "*.md", "*.yml", "*.yaml", "*.toml", "Makefile"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    files = [ROOT / name for name in listed.split("\0") if name]
    texts = {file: file.read_bytes() for file in files if file.is_file() and "data" not in file.parts}

    assert len(texts) > 100
    assert [str(file) for file, text in texts.items() if text and not text.endswith(b"\n")] == []
    assert [str(file) for file, text in texts.items() if re.search(rb"[ \t]$|\r", text, re.MULTILINE)] == []


def test_a_vulnerability_is_reported_in_private():
    """SECURITY.md, the form for bugs and MAINTAINERS.md say the same, and name no person."""
    maintainers = (ROOT / "MAINTAINERS.md").read_text("utf-8")

    assert "## Report a vulnerability" in maintainers
    assert "(MAINTAINERS.md#report-a-vulnerability)" in (ROOT / "SECURITY.md").read_text("utf-8")
    assert "MAINTAINERS.md" in (GITHUB / "ISSUE_TEMPLATE/bug.yml").read_text("utf-8")
    assert "@" not in maintainers

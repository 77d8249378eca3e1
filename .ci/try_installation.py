"""Tries an installed ws-factory-exporter in an empty folder: `python .ci/try_installation.py PATH/ws-factory-exporter`.

Each command of the first hour is run; each path, URL and command that it prints must be there. The exit code is 1, with
the output, at the first that is not.
"""

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

TIMEOUT_SECONDS = 60.0
PRINTED_PATH = re.compile(r"(?:(?<=^)|(?<=[\s(`'\"]))((?:/|deploy/|docs/|tests/)[\w.-]+(?:/[\w.-]+)*)", re.MULTILINE)
"""A path of the file system or of the repository; what stands behind a host belongs to a URL."""


class Trial:
    """An installed command, run in a folder that is no checkout."""

    def __init__(self, command: str, folder: Path) -> None:
        self.command = [str(Path(command).absolute())]
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self.environment = {**kept, "HOME": str(folder)}

    def run(self, *words: str, code: int = 0) -> str:
        """What a command prints, once it has ended with `code` and each path in it is there."""
        print("$ ws-factory-exporter", *words, flush=True)
        done = subprocess.run(
            [*self.command, *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        said = done.stdout + done.stderr
        require(done.returncode == code, f"exit code {done.returncode}, {code} was expected", said)
        for path in PRINTED_PATH.findall(said) if words[0] != "runbook" else ():  # pages name paths of other machines
            require((self.folder / path).exists(), f"{path} is printed and is not there", said)
        return said

    @contextlib.contextmanager
    def running(self, *words: str) -> Iterator["Output"]:
        """A command that serves, until the block ends; then it must end by SIGINT with exit code 0."""
        print("$ ws-factory-exporter", *words, flush=True)
        process = subprocess.Popen(
            [*self.command, *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        output = Output(process)
        try:
            yield output
            process.send_signal(signal.SIGINT)
            require(process.wait(TIMEOUT_SECONDS) == 0, f"exit code {process.returncode} after SIGINT", output.text)
        finally:
            process.kill()
            process.wait()


class Output:
    """The lines of a running command."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.text = ""
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            self._lines.put(line)
        self._lines.put("")

    def find(self, pattern: str) -> str:
        """The first group of the next line that matches."""
        while True:
            try:
                line = self._lines.get(timeout=TIMEOUT_SECONDS)
            except queue.Empty:
                line = ""
            require(line != "", f"no line matches {pattern!r}", self.text)
            self.text += line
            found = re.search(pattern, line)
            if found:
                return found[1]


def require(holds: bool, sentence: str, said: str) -> None:
    """End with what was said unless the condition holds."""
    if not holds:
        sys.exit(f"{said}\n{sentence}")


def get(url: str, method: str = "GET", body: bytes | None = None) -> str:
    """The text of a URL; raises unless the answer is good."""
    asked = urllib.request.Request(url, data=body, method=method)  # http, of a process that was just started
    with urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS) as answer:
        text: str = answer.read().decode()
    return text


def try_files(trial: Trial) -> None:
    """The files of the package, and the example config before anything listens."""
    incidents = trial.run("standin", "--list-incidents")
    require("slots-of-all" in incidents, "the incidents are not in the package", incidents)
    written = trial.run("assets", "--to", "site", "--runbook-url", "https://runbooks.example.com/ws")
    names = [line.removeprefix("wrote ") for line in written.splitlines()]
    require(bool(names) and all((trial.folder / name).is_file() for name in names), "a file is not there", written)
    trial.run("run", "--config.file", "site/deploy/exporter.yml", "--config.check")
    said = trial.run("check", "--config.file", "site/deploy/exporter.yml", code=2)
    opened = re.search(r"open +ws-factory-exporter (runbook \w+)", said)
    require(opened is not None, "no command that shows the page", said)
    trial.run(*(opened[1].split() if opened else ()))


def try_demo(trial: Trial) -> None:
    """The demonstration, a check of it, and the page that a failed check names."""
    with trial.running("demo", "--port", "0") as demo:
        faults = demo.find(r"curl -X PUT '([^']+)'")
        url = demo.find(r"^exporter +(\S+)")
        demo.find(r"(connect pass .*send pass)")
        trial.run("healthcheck", "--url", url)
        trial.run("check", "--from", url, "--target", "demo")
        get(faults, "PUT", b'["internal_error"]')
        said = trial.run("check", "--from", url, "--target", "demo", code=2)
        page = re.search(r"open +(http\S+)", said)
        require(page is not None and "<h1>" in get(page[1]), "the page of the failure is not served", said)


def try_run(trial: Trial) -> None:
    """The exporter with the example config."""
    with trial.running(
        "run", "--config.file", "site/deploy/exporter.yml", "--web.listen-address", "127.0.0.1:0", "--startup.delay=0s"
    ) as exporter:
        url = exporter.find(r"\burl=(\S+)").strip('"')
        exporter.find(r"(target=my-backend)")
        metrics = get(f"{url.rstrip('/')}/metrics")
        require('ws_probe_success{target="my-backend",probe="connect"} 0' in metrics, "no result on /metrics", metrics)
        require("my-backend" in get(url), "the target is not on the page", url)


def main() -> None:
    """Try one installation."""
    with tempfile.TemporaryDirectory(prefix="ws-factory-try-") as folder:
        trial = Trial(sys.argv[1], Path(folder))
        print(trial.run("--version").strip())
        try_files(trial)
        try_demo(trial)
        try_run(trial)
    print("all of it holds")


main()

"""Unpacks Debian's newer Prometheus, Alertmanager and VictoriaMetrics beside the installed ones.

    python3 tests/engines/unpack.py                  all of packages.lock
    python3 tests/engines/unpack.py sid/promtool     some of it

Nothing is installed: the files of SUITE lie under .engines/SUITE, programs in .engines/SUITE/usr/bin. apt fetches
them from the mirror that it uses on this machine already, with lists of its own: the machine's stay as they are.
It runs before there is a virtual environment: the standard library is all it has.
"""

import hashlib
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENGINES = ROOT / ".engines"
LOCK = Path(__file__).with_name("packages.lock")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PINNED_MACHINE = "x86_64"
"""Whose packages have their hash in the lock; another's are vouched for by the archive's signature alone."""


class UnpackError(Exception):
    """A sentence that says what is missing and what to do."""


@dataclass(frozen=True)
class Package:
    """A row of the lock."""

    suite: str
    name: str
    version: str
    sha256: str

    @property
    def key(self):
        """How the command line names it."""
        return f"{self.suite}/{self.name}"

    @property
    def stamp(self):
        """The file that says which version is unpacked."""
        return ENGINES / f"{self.key}.version"

    @property
    def current(self):
        """Whether this version is unpacked, or the one that the suite had when this one was wanted and gone."""
        return self.stamp.exists() and self.version in self.stamp.read_text().split()


def locked():
    """All rows."""
    lines = [line for line in LOCK.read_text().splitlines() if line and not line.startswith("#")]
    return [Package(*line.split()) for line in lines]


def run(*command):
    """What a command prints; UnpackError with its own words if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnpackError(f"`{' '.join(command[:1] + command[-2:])}` failed: {done.stderr.strip()[-1000:]}")
    return done.stdout


def mirror():
    """The address from which this machine's apt takes Debian's own packages."""
    release = platform.freedesktop_os_release()
    wanted = [release.get("VERSION_CODENAME", ""), "main"]
    rows = run("apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages")
    addresses = [line.split()[2] for line in rows.splitlines() if line.split()[:2] == wanted]
    if release.get("ID") != "debian" or not addresses:
        raise UnpackError("the newer engines are Debian's packages, and apt of this machine has no mirror of Debian")
    return addresses[0]


class Apt:
    """apt with sources, lists and cache of its own."""

    def __init__(self, suites):
        folder = ENGINES / "apt"
        for part in ("lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        signed = f"[signed-by={KEYRING}] " if Path(KEYRING).exists() else ""
        sources = folder / "sources.list"
        sources.write_text("".join(f"deb {signed}{mirror()} {suite} main\n" for suite in sorted(suites)))
        options = {
            "Dir::Etc::SourceList": sources,
            "Dir::Etc::SourceParts": "-",
            "Dir::State::Lists": folder / "lists",
            "Dir::Cache": folder / "cache",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled": "false",
            "Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled": "false",
            "Acquire::Retries": 3,
        }
        self._options = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        self._folder = folder
        run("apt-get", *self._options, "update", "-qq", "--error-on=any")

    def versions(self, package):
        """The versions that the suite has, newest first."""
        rows = [
            [cell.strip() for cell in line.split("|")]
            for line in run("apt-cache", *self._options, "madison", package.name).splitlines()
        ]
        return [version for _, version, source in rows if f" {package.suite}/main " in f"{source} "]

    def fetch(self, package, version):
        """The file of the package, fetched; apt has checked it by the signed index."""
        for old in self._folder.glob("*.deb"):
            old.unlink()
        target = f"{package.name}={version}"
        command = ["apt-get", *self._options, "download", "-qq", target]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        files = list(self._folder.glob("*.deb"))
        if done.returncode or len(files) != 1:
            raise UnpackError(f"apt cannot fetch {target} of {package.suite}: {done.stderr.strip()[-500:]}")
        return files[0]


def unpack(apt, package):
    """Fetch one package and unpack it; the version that was taken."""
    versions = apt.versions(package)
    if not versions:
        raise UnpackError(f"the mirror has no {package.name} in {package.suite}")
    version = package.version if package.version in versions else versions[0]
    file = apt.fetch(package, version)
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if version == package.version and platform.machine() == PINNED_MACHINE and found != package.sha256:
        raise UnpackError(f"{package.key} {version} has the SHA-256 {found}, and packages.lock says {package.sha256}")
    run("dpkg-deb", "-x", str(file), str(ENGINES / package.suite))
    file.unlink()
    package.stamp.write_text(f"{version}\n{package.version}\n")
    if version != package.version:
        print(f"{package.key}: {package.version} is gone, took {version}; renew its row in {LOCK.relative_to(ROOT)}")
    return version


def main(names):
    """Unpack what is named and not there yet."""
    rows = locked()
    unknown = set(names) - {row.key for row in rows}
    if unknown:
        raise UnpackError(f"packages.lock has no {', '.join(sorted(unknown))}")
    wanted = [row for row in rows if (row.key in names or not names) and not row.current]
    if wanted:
        apt = Apt({row.suite for row in wanted})
        for row in wanted:
            print(f"{row.key} {unpack(apt, row)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UnpackError as error:
        sys.exit(f"unpack.py: {error}")

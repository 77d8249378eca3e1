"""The command line: reads files, makes words and exit codes of errors; the only print, sys.exit and signal."""

import sys

from exporter import __version__


def main() -> int:
    """Run the command; the exit code."""
    print(f"ws-factory-exporter {__version__}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

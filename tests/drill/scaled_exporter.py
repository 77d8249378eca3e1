"""The exporter's own command line, with the durations that are constants in its code scaled: the drill starts it.

    python scaled_exporter.py 1/15 run --config.file …

Rule 1: constants only; what they are for is the product's. The rests of an endpoint, the waits of the
daemon, how long a login counts that was cut off.
"""

import sys
from fractions import Fraction

from exporter import __main__, daemon
from exporter.budget import ledger, login_streak

CONSTANTS = (
    (daemon, "FIRST_SCRAPE"),
    (daemon, "TIDY"),
    (ledger, "ENDPOINT_REST"),
    (ledger, "LONGEST_ENDPOINT_REST"),
    (login_streak, "DOUBTED_FOR"),
)


def scale(factor):
    """Multiply them, in this process."""
    for module, name in CONSTANTS:
        setattr(module, name, float(Fraction(str(getattr(module, name))) * factor))


if __name__ == "__main__":
    scale(Fraction(sys.argv[1]))
    sys.exit(__main__.main(sys.argv[2:]))

"""The exporter's own command line, with the durations that are constants in its code scaled: the drill starts it.

    python scaled_exporter.py 1/15 run --config.file …

Rule 1: only constants are scaled: how long an endpoint is left alone after a rate limit, and how long a login counts
whose end nothing recorded.
"""

import sys
from fractions import Fraction

from exporter import __main__
from exporter.budget import ledger, login_streak

CONSTANTS = (
    (ledger, "ENDPOINT_COOLDOWN_SECONDS"),
    (ledger, "MAX_ENDPOINT_COOLDOWN_SECONDS"),
    (login_streak, "LOST_LOGIN_SECONDS"),
)


def scale(factor):
    """Multiply them, in this process."""
    for module, name in CONSTANTS:
        setattr(module, name, float(Fraction(str(getattr(module, name))) * factor))


if __name__ == "__main__":
    scale(Fraction(sys.argv[1]))
    sys.exit(__main__.main(sys.argv[2:]))

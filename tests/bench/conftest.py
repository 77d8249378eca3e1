"""Benches use what the tests use: their folder is on the path too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

"""Every metric family and the doors through which it is counted: the only room that makes metrics.

Rule 1: no label value comes from the network. Rule 2: no I/O and no clock: times come in.
Rule 3: nobody outside sees how the figures are kept; `web` renders `Metrics.registry`.

`families`: names, types, labels, HELP. `series`: what a target can have. `storage`: where it is kept. `doors`: how
it gets there.
"""

from exporter.metrics.doors import Metrics
from exporter.metrics.series import TargetSeries, target_series

__all__ = ["Metrics", "TargetSeries", "target_series"]

"""Every metric family and the doors through which it is counted: the only package that makes metrics.

Rule 1: no label value comes from the network. Rule 2: no I/O and no clock: times come in.
Rule 3: nobody outside sees how the figures are kept; `web` writes what `Metrics.figures` and `Metrics.machine` say.

`families`: names, types, labels, HELP. `series`: what a target can have. `layout`: where each series stands, and its
text. `storage`: the figures. `exposition`: the forms of a page. `doors`: how a figure gets there. `probed`: the page of
one session that was asked for.
"""

from exporter.metrics.exposition import ExpositionFormat
from exporter.metrics.probed import ProbedSession, probe_page
from exporter.metrics.recorder import Metrics
from exporter.metrics.series import TargetSeries, target_series

__all__ = ["ExpositionFormat", "Metrics", "ProbedSession", "TargetSeries", "probe_page", "target_series"]

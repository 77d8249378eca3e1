"""All metrics: which series exist, how results are recorded, and the text of a scrape.

Rule 1: no label value comes from the network. Rule 2: no I/O and no clock: times are arguments.
Rule 3: the storage is private to this package; `web` sends what `Metrics.samples` and `Metrics.process_metrics` return.

`families` names, types, labels, HELP · `series` the series of a target · `layout` their slots and their text ·
`storage` the values · `exposition` formats of a scrape · `recorder` records results · `probed` the answer of /probe.
"""

from exporter.metrics.exposition import ExpositionFormat
from exporter.metrics.probed import ProbedSession, probe_page
from exporter.metrics.recorder import Metrics
from exporter.metrics.series import TargetSeries, target_series

__all__ = ["ExpositionFormat", "Metrics", "ProbedSession", "TargetSeries", "probe_page", "target_series"]

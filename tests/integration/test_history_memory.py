"""Package `history`: what it counts as the weight of real results is what they take."""

import asyncio
import gc
import tracemalloc

from support import harness

from exporter.history import weight
from exporter.standin import StandIn, Timings


def test_the_weight_of_a_result_is_near_its_memory():
    """What we count as bytes is what Python takes, to within a third, for a pass and for a refusal."""

    async def sessions(standin, fault, number):
        standin.set_fault("*", fault)
        limits = {"slots_per_identity": 0, "slot_release": "1s"}
        (job,) = harness.planned(harness.target(standin, identities={"pool-001": "u"}, limits=limits)).jobs
        prober = harness.Rig()
        for _ in range(3):
            await prober.run(job)
        return [await prober.run(job) for _ in range(number)]

    async def measured(fault):
        async with StandIn.start(tls_port=None, timings=Timings.quick()) as standin:
            tracemalloc.start()
            try:
                results = await sessions(standin, fault, 12)
                gc.collect()
                before, counted = tracemalloc.get_traced_memory()[0], sum(map(weight, results))
                del results
                gc.collect()
                return (before - tracemalloc.get_traced_memory()[0]) / counted
            finally:
                tracemalloc.stop()

    ratios = {fault: asyncio.run(measured(fault)) for fault in ("none", "internal_error")}

    assert all(0.67 < ratio < 1.5 for ratio in ratios.values()), ratios

"""How much of the front of accuracy and latency do 200 evaluations find, on four devices?

NAS-Bench-201's validation accuracy after 12 epochs against the measured latency, both looked up.
`value` is the hypervolume of what was evaluated, divided by that of the true front of all 15,625
cells. The reference point is the median accuracy of all cells and the greatest latency; `worst`
is the same with the worst accuracy in place of the median, which everybody finds easier.
"""

from __future__ import annotations

import time

import nb201
import numpy as np
import record

STRATEGIES = "random,nsga2,tpe,bayesian"


def ratios(table: nb201.Table, device: str, evaluations) -> tuple[float, float]:
    """Hypervolume ratio to the median accuracy, and to the worst."""
    from autokit.nas.pareto import hypervolume, non_dominated

    every = np.stack([table.columns[nb201.SIGNAL], -table.columns[device]], axis=1)
    front = every[non_dominated(every)]
    found = [e.values for e in evaluations]
    slowest = every[:, 1].min()
    references = [(pick(every[:, 0]), slowest) for pick in (np.median, np.min)]
    return tuple(hypervolume(found, r) / hypervolume(front, r) for r in references)


def main():
    options = record.arguments(__doc__, seeds=20, queries=200, strategies=STRATEGIES, first_seed=0)
    table = nb201.load(options.data)
    if table is None:
        return
    from autokit.nas.strategies import STRATEGIES as known

    lines = []
    for name in options.strategies.split(","):
        for device in nb201.DEVICES:
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                cpu = time.process_time()
                result = nb201.search(known[name], table, seed, options.queries, device)
                cpu = 1000 * (time.process_time() - cpu) / options.queries
                value, worst = ratios(table, device, result.evaluations)
                lines.append(
                    record.write(
                        "pareto", name, device, seed, value, worst=worst, cpu_ms_per_query=cpu
                    )
                )
        group = [{**r, "data": "mean of devices"} for r in lines if r["method"] == name]
        columns = {"value": 4, "worst": 4, "cpu_ms_per_query": 1}
        mine = [r for r in lines if r["method"] == name]
        print(record.table([*mine, *group], columns), flush=True)


if __name__ == "__main__":
    main()

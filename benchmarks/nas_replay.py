"""Which strategy finds the best cell of NAS-Bench-201 with a hundred evaluations?

The library's own search loop over the whole space; an evaluation is looked up in the table. The
search sees the validation accuracy after 12 epochs; `value` is the test accuracy after 200 epochs,
in percent, of the best it has seen (all 15,625: 94.37). No search is told where to start. The
curves go to ``results/nas_replay.png``.
"""

from __future__ import annotations

import time

import nb201
import numpy as np
import record

COLORS = {
    "random": "0.6",
    "evolution": "tab:orange",
    "reinforce": "tab:brown",
    "local_search": "tab:green",
    "nsga2": "tab:purple",
    "tpe": "tab:red",
    "bayesian": "tab:blue",
}


def curve(evaluations, table: nb201.Table) -> list[float]:
    """Test accuracy of the best so far, by queries."""
    best, values = None, []
    for evaluation in evaluations:
        if best is None or evaluation.rank > best.rank:
            best = evaluation
            value = table.look_up(best.architecture, nb201.TARGET)
        values.append(value)
    return values


def plot(lines: list[dict]) -> None:
    """Mean and its standard error by queries, a line per strategy."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for method, color in COLORS.items():
        curves = np.array([r["curve"] for r in lines if r["method"] == method])
        if not len(curves):
            continue
        mean, error = curves.mean(axis=0), curves.std(axis=0) / np.sqrt(len(curves))
        queries = np.arange(1, len(mean) + 1)
        axes.plot(queries, mean, color=color, label=method)
        axes.fill_between(queries, mean - error, mean + error, color=color, alpha=0.2, lw=0)
    axes.axhline(94.37, color="black", lw=0.8, ls=":", label="best of all 15,625")
    axes.set(
        xlabel="queries", ylabel="test accuracy of the best / %", ylim=(92, 94.5), xlim=(1, 100)
    )
    axes.set_title("Searches on NAS-Bench-201, CIFAR-10")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(record.RESULTS / "nas_replay.png", dpi=120)


def main():
    options = record.arguments(
        __doc__, seeds=200, queries=100, strategies=",".join(COLORS), first_seed=0
    )
    table = nb201.load(options.data)
    if table is None:
        return
    from autokit.nas.strategies import STRATEGIES

    lines = []
    for name in options.strategies.split(","):
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            cpu = time.process_time()
            result = nb201.search(STRATEGIES[name], table, seed, options.queries)
            values = curve(result.evaluations, table)
            lines.append(
                record.write(
                    "nas_replay",
                    name,
                    f"nb201 cifar10, {options.queries} queries",
                    seed,
                    values[-1],
                    best_seen=result.best_score,
                    curve=values,
                    cpu_ms_per_query=1000 * (time.process_time() - cpu) / len(values),
                )
            )
        print(record.table(lines, {"value": 2, "cpu_ms_per_query": 1}), flush=True)
    plot(record.latest(record.read("nas_replay")))


if __name__ == "__main__":
    main()

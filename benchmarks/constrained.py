"""How good is what a search finds within a latency limit, and does it ever break the limit?

NAS-Bench-201 by table (12-epoch validation is searched, 200-epoch test reported) on four devices
of HELP's latency table; the limit is a percentile of the device's column. `points_lost` are points
of accuracy below the best cell within the limit, `value` the accuracy, `violations` the share of
searches that returned a cell over the limit or none at all. "known": the space is cut by the true
latency. "predicted": it is cut by a predictor fitted on 50 measured cells that the seed draws; the
best of the search is then measured, and the next taken until one keeps the limit: `walked` is
how many were measured. Seeds begin at ``--first``.
"""

from __future__ import annotations

import nb201
import numpy as np
import record

PERCENTILES = (10, 25, 50)
N_MEASURED = 50


def main():
    options = record.arguments(__doc__, seeds=50, first=0, queries=100, strategy="bayesian")
    table = nb201.load(options.data)
    if table is None:
        return
    from autokit.nas import FeasibleSpace, FullTraining, HardwareConstraints, NB201Space
    from autokit.nas.hardware import Certificate, Costs, GaussianProcessPredictor, Infeasible
    from autokit.nas.hardware.certificates import first_certified
    from autokit.nas.search import run
    from autokit.nas.strategies import STRATEGIES

    space = NB201Space()
    cells = [cell for cell in space if space.is_connected(cell)]
    test = {cell: table.look_up(cell, nb201.TARGET) for cell in cells}
    lines = []
    for device in nb201.DEVICES:
        truth = {cell: table.look_up(cell, device) for cell in cells}
        limits = {p: float(np.percentile(table.columns[device], p)) for p in PERCENTILES}
        optimum = {p: max(test[c] for c in cells if truth[c] <= limits[p]) for p in PERCENTILES}
        for seed in range(options.first, options.seeds):
            rng = np.random.default_rng([seed, 1])
            measured = [cells[i] for i in rng.choice(len(cells), N_MEASURED, replace=False)]
            predictor = GaussianProcessPredictor(space).fit(measured, [truth[c] for c in measured])
            predicted = dict(zip(cells, predictor.predict(cells), strict=True))
            for p, limit in limits.items():
                constraints = HardwareConstraints(max_latency_ms=limit)

                def certificate(evaluation, cell, constraints=constraints, truth=truth):
                    costs = Costs(latency_ms=truth[cell])
                    violation, text = constraints.violation(costs), constraints.explain(costs)
                    return Certificate(violation == 0, costs, True, text, violation)

                for variant, latency in (("known", truth), ("predicted", predicted)):
                    within = FeasibleSpace(
                        space,
                        lambda cell, ms=latency, limits=constraints: limits.violation(
                            Costs(latency_ms=ms[cell])
                        ),
                    )
                    strategy = STRATEGIES[options.strategy](within, np.random.default_rng(seed))
                    result = run(
                        within,
                        strategy,
                        table.evaluator(),
                        schedule=FullTraining(12),
                        max_trials=options.queries,
                        seed=seed,
                    )
                    walked = []

                    def build(evaluation, walked=walked):
                        walked.append(evaluation)
                        return evaluation.architecture

                    try:
                        best, _, proof = first_certified(
                            result.ranking, build, lambda e: e.architecture, certificate
                        )
                        value, is_over = test[best.architecture], not proof.holds
                        lost = optimum[p] - value
                    except Infeasible:
                        value, lost, is_over = None, None, True
                    lines.append(
                        record.write(
                            "constrained", f"{options.strategy}, {variant}",
                            f"{device}, {p} %", seed, value, points_lost=lost,
                            violations=float(is_over), walked=len(walked), limit_ms=limit,
                            queries=len(result.evaluations),
                        )
                    )  # fmt: skip
        shown = [line for line in lines if line["data"].startswith(device)]
        columns = {"value": 2, "points_lost": 2, "violations": 2, "walked": 1}
        print(record.table(shown, columns), flush=True)
    everywhere = [{**line, "data": "mean"} for line in lines]
    print(record.table(everywhere, {"points_lost": 2, "violations": 3, "walked": 1}))


if __name__ == "__main__":
    main()

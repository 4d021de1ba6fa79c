"""How well is latency predicted from 10, 50 and 200 measured cells?

NAS-Bench-201's cells on the devices of HELP's table: a seed draws the cells that are measured,
`value` is the rank correlation (Spearman) over the 15,625 cells but these, `mape` the mean relative
error there. `claimed_ms` is the root mean squared error that the predictor gives for itself by
cross-validation, `rmse_ms` the true one. "ridge" is the reference: one-hot codes and FLOPs, ridge
regression of strength 1 on standardised columns. Costs are the table's parameters and FLOPs.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import record
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SIZES = (10, 50, 200)


def main():
    options = record.arguments(__doc__, seeds=10)
    table = record.data_file(options.data, "nas/nb201_cifar10.csv.gz")
    times = record.data_file(options.data, "nas/nb201_latency_ms.csv.gz")
    if table is None or times is None:
        return
    from autokit.nas import NB201Architecture, NB201Space
    from autokit.nas.hardware import GaussianProcessPredictor, LookupTablePredictor
    from autokit.nas.hardware.predictors import spearman

    table, times = pd.read_csv(table), pd.read_csv(times).set_index("index")
    cells = [NB201Architecture.from_arch_str(text) for text in table["arch_str"]]
    numbers = table[["params", "flops"]].to_numpy(float)
    known = dict(zip(cells, numbers, strict=True))
    space = NB201Space(connected_only=False)
    columns = np.column_stack([[space.encode(cell) for cell in cells], numbers[:, 1]])

    def ridge(train, ms):
        model = make_pipeline(StandardScaler(), Ridge(1.0)).fit(columns[train], ms)
        return model.predict, None

    def ours(kind, costs):
        def fit(train, ms):
            predictor = kind(space, costs=costs).fit([cells[i] for i in train], ms)
            return predictor, predictor.error_

        return fit

    methods = {
        "ridge on one-hot + FLOPs": ridge,
        "lookup table": ours(LookupTablePredictor, None),
        "Gaussian process": ours(GaussianProcessPredictor, known.__getitem__),
        "Gaussian process without costs": ours(GaussianProcessPredictor, None),
    }
    lines = []
    for device in times.columns:
        ms = times[device].reindex(table["index"]).to_numpy(float)
        for seed in range(options.seeds):
            order = np.random.default_rng(seed).permutation(len(cells))
            for n in SIZES:
                train, test = order[:n], order[n:]
                for method, fit in methods.items():
                    model, claimed = fit(train, ms[train])
                    if claimed is None:
                        predicted, claimed_ms = model(columns[test]), None
                    else:
                        predicted = model.predict([cells[i] for i in test])
                        claimed_ms = claimed.rmse_ms
                    wrong = np.abs(predicted - ms[test])
                    lines.append(
                        record.write(
                            "latency_predictor", f"{method}, {n}", device, seed,
                            spearman(predicted, ms[test]), n=n,
                            mape=float(np.mean(wrong / ms[test])),
                            rmse_ms=float(np.sqrt(np.mean(wrong**2))), claimed_ms=claimed_ms,
                        )
                    )  # fmt: skip
        shown = [line for line in lines if line["data"] == device]
        print(record.table(shown, {"value": 3, "rmse_ms": 2, "claimed_ms": 2}), flush=True)
    everywhere = [{**line, "data": "mean of devices"} for line in lines]
    print(record.table(everywhere, {"value": 3}))


if __name__ == "__main__":
    main()

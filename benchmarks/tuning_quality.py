"""Which tuner finds the best parameters in 30 trials?

A support vector machine behind a scaler, with conditional parameters, on six tabular sets (at most
600 rows of each, drawn with seed 0), 3 stratified folds, no pruning; the seed is the tuner's.
`value` is the best mean score over the folds after all trials; `tuning_rank` the mean of a tuner's
rank among those of the same set and seed, 1 the best, ties shared. keras-tuner's Hyperband needs
epochs and is left out.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import record
from scipy.stats import rankdata, wilcoxon
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

SETS = ("sonar", "pima", "glass", "winequality_red", "titanic", "credit_g")
ROWS, TRIALS = 600, 30
TUNERS = "tpe random bayesian grid gp cmaes nsga2"


def rows_of(folder: Path, name: str) -> tuple[pd.DataFrame, pd.Series]:
    """The rows of a set, few classes merged away, what gives the target away left out."""
    index = json.loads((folder / "tabular/index.json").read_text())
    frame = pd.read_csv(folder / "tabular" / f"{name}.csv.gz")
    target = index[name]["target"]
    frame = frame[frame.groupby(target)[target].transform("size") >= 12]
    frame = frame.sample(min(ROWS, len(frame)), random_state=0)
    frame = frame[frame.groupby(target)[target].transform("size") >= 3]
    return frame.drop(columns=[target, "alive"], errors="ignore"), frame[target]


def pipeline():
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = OneHotEncoder(handle_unknown="ignore", min_frequency=5)
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (texts, make_column_selector(dtype_exclude="number")),
        sparse_threshold=0,
    )
    return make_pipeline(columns, SVC(max_iter=20_000))


def space():
    from autokit.tuning import Categorical, Float, Int

    return {
        "svc__kernel": Categorical(["rbf", "poly", "sigmoid"]),
        "svc__C": Float(1e-3, 1e3, log=True),
        "svc__gamma": Float(1e-5, 1e1, log=True),
        "svc__degree": Int(2, 5, when={"svc__kernel": "poly"}),
        "svc__coef0": Float(0, 2, when={"svc__kernel": ["poly", "sigmoid"]}),
        "svc__class_weight": Categorical([None, "balanced"]),
    }


def main():
    options = record.arguments(__doc__, seeds=5, tuners=TUNERS, sets=" ".join(SETS), first=0, dry=0)
    found = record.data_file(options.data, "tabular/index.json")
    if found is None:
        return
    from autokit.tuning import TunerSearchCV

    values: dict = {}
    for name in options.sets.split():
        X, y = rows_of(Path(options.data), name)
        for seed in range(options.first, options.first + options.seeds):
            costs: dict = {}
            for tuner in options.tuners.split():
                with record.measured() as cost, warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of fits that did not converge
                    search = TunerSearchCV(
                        pipeline(),
                        space(),
                        tuner=tuner,
                        n_trials=TRIALS,
                        cv=StratifiedKFold(3, shuffle=True, random_state=0),
                        pruner=None,
                        refit=False,
                        random_state=seed,
                    ).fit(X, y)
                values.setdefault((name, seed), {})[tuner] = float(search.best_score_)
                costs[tuner] = cost
            for tuner, value in values[name, seed].items():
                if not options.dry:
                    record.write("tuning_quality", tuner, name, seed, value, **costs[tuner])
            shown = {
                t: (round(v, 4), round(costs[t]["seconds"])) for t, v in values[name, seed].items()
            }
            print(name, seed, shown, flush=True)
    if not options.dry:
        summary()


def summary():
    """Mean ranks over the sets and seeds that all tuners have, from all results so far."""
    found: dict = {}
    for line in record.latest(record.read("tuning_quality")):
        found.setdefault((line["data"], line["seed"]), {})[line["method"]] = line["value"]
    count = Counter(tuner for values in found.values() for tuner in values)
    often = [tuner for tuner, n in count.items() if n == max(count.values())]
    for tuners in [often, list(count)] if len(often) < len(count) else [often]:
        rank(tuners, [values for values in found.values() if set(tuners) <= set(values)])


def rank(tuners: list[str], searches: list[dict[str, float]]) -> None:
    """Write the mean ranks of tuners over the searches that all of them did."""
    table = np.array([[values[tuner] for tuner in tuners] for values in searches])
    ranks = rankdata(-table, axis=1).mean(axis=0)
    for i in np.argsort(ranks):
        better = table[:, i] - table[:, tuners.index("random")]
        p = wilcoxon(better).pvalue if np.any(better) else 1.0
        more = {"against_random": float(better.mean()), "p": float(p), "mean": table[:, i].mean()}
        record.write(
            "tuning_rank", tuners[i], f"{len(searches)} searches", 0, float(ranks[i]), **more
        )
        print(
            f"{tuners[i]:10} mean rank {ranks[i]:.2f}  mean {table[:, i].mean():.4f}  against "
            f"random {better.mean():+.4f} (p {p:.3f})"
        )


if __name__ == "__main__":
    main()

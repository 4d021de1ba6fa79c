"""`autokit tune`: search the parameters of a network for a CSV file."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from autokit.cli.training import HISTORY_NAME, Prepared, conclude, prepare

TRIALS_NAME = "trials.csv"
EPOCHS = 100


def tune_table(args: argparse.Namespace) -> None:
    """Search as the arguments say; what can be checked before any training is.

    Raises
    ------
    ValueError, OSError
        The file, its target column, the storage or the output folder is not fit for use.
    """
    prepared = prepare(args)
    search = _search(args, prepared.task)
    began = time.perf_counter()
    search.fit(*prepared.train)
    fit_seconds = time.perf_counter() - began
    found = _write(search, args, prepared)
    conclude(args, prepared, search.best_estimator_, fit_seconds, {"search": found})


def default_space() -> dict[str, Any]:
    """What is searched of a Keras estimator with `autokit.layers.Perceptron` as its model.

    Sizes are few, so that many trials share one compiled network.
    """
    from autokit.tuning import Categorical, Float, Int

    return {
        "learning_rate": Float(1e-4, 3e-2, log=True),
        "batch_size": Categorical([16, 32, 64, 128]),
        "model__width": Categorical([32, 64, 128, 256]),
        "model__depth": Int(1, 3),
        "model__dropout": Float(0.0, 0.4, step=0.2),
    }


def _search(args: argparse.Namespace, task: str) -> Any:
    import autokit
    from autokit.layers import Perceptron
    from autokit.tuning import TunerSearchCV

    kind = autokit.KerasClassifier if task == "classification" else autokit.KerasRegressor
    return TunerSearchCV(
        kind(model=Perceptron(), epochs=EPOCHS, early_stopping=True),
        default_space(),
        tuner=args.tuner,
        n_trials=args.trials,
        time_budget_s=args.time_budget,
        cv=args.cv,
        scoring=args.scoring,
        pruner=None if args.pruner == "none" else args.pruner,
        storage=args.storage,
        random_state=args.seed,
        verbose=1,
    )


def _write(search: Any, args: argparse.Namespace, prepared: Prepared) -> dict[str, Any]:
    """Write the table and the picture of the search; what the report says of it."""
    import pandas as pd

    from autokit.tuning import plot_optimization_history

    folder: Path = prepared.folder
    table = pd.DataFrame(search.cv_results_).drop(columns="params")
    table.to_csv(folder / TRIALS_NAME, index_label="trial", lineterminator="\n")
    plot_optimization_history(search, folder / HISTORY_NAME)
    best = search.trials_[search.best_index_].values
    values = ", ".join(f"{name} {_shown(value)}" for name, value in best.items())
    scored = args.scoring or ("accuracy" if prepared.task == "classification" else "r2")
    statuses = [trial.status for trial in search.trials_]
    counts = {status: statuses.count(status) for status in ("complete", "pruned", "failed")}
    print(f"trials: {', '.join(f'{n} {status}' for status, n in counts.items() if n)}")
    print(f"best {scored} of {search.n_splits_} folds: {search.best_score_:.4g}, with {values}")
    return {
        "tuner": args.tuner,
        "pruner": args.pruner,
        "storage": args.storage,
        "scoring": scored,
        "folds": search.n_splits_,
        "trials": counts,
        "stopped": search.stopped_,
        "best_score": search.best_score_,
        "best_parameters": best,
        "refit_seconds": search.refit_time_,
    }


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""`autokit fit`: from a CSV file to a folder with a model, its TFLite file and a report."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

from autokit.cli.commands import DEFAULT_TIME_BUDGET_S, describe_export
from autokit.cli.csv_files import TrainingTable, check_task, decide_task, read_training

MODEL_NAME, TFLITE_NAME, REPORT_NAME = "model.autokit", "model.tflite", "report.json"
HISTORY_NAME = "search_history.png"


class Prepared(NamedTuple):
    """What a training starts from: all that can be checked before it has been."""

    table: TrainingTable
    task: str
    why: str
    folder: Path
    train: tuple[Any, Any]
    test: tuple[Any, Any] | None


def fit_table(args: argparse.Namespace) -> None:
    """Train as the arguments say; what can be checked before the training is.

    Raises
    ------
    ValueError, OSError
        The file, its target column or the output folder is not fit for use.
    """
    prepared = prepare(args)
    estimator = _estimator(args, prepared.task)
    began = time.perf_counter()
    estimator.fit(*prepared.train)
    conclude(args, prepared, estimator, time.perf_counter() - began)


def prepare(args: argparse.Namespace) -> Prepared:
    """Read the table, decide the task and split the rows; say what was decided.

    Raises
    ------
    ValueError, OSError
        The file, its target column or the output folder is not fit for use.
    """
    from autokit.report import output_folder

    table = read_training(args.data, args.target)
    task, why = _task(args.task, table)
    folder = output_folder(args.out)
    if (folder / MODEL_NAME).exists() and not args.overwrite:
        raise FileExistsError(
            f"{folder / MODEL_NAME} exists; replace it with --overwrite, or name another --out."
        )
    if table.n_dropped:
        print(f"rows without a value in {args.target!r}, left out: {table.n_dropped}")
    print(f"task: {task}, because {why}" + " (--task decides otherwise)" * (args.task == "auto"))
    return Prepared(table, task, why, folder, *_split(table, task, args.holdout, args.seed))


def conclude(
    args: argparse.Namespace,
    prepared: Prepared,
    estimator: Any,
    fit_seconds: float,
    more: dict[str, Any] | None = None,
) -> None:
    """Score, save and export what was trained, and write the report.

    Raises
    ------
    RuntimeError
        The export failed; the model is saved nevertheless.
    """
    from autokit.report import environment, write_json

    table, task, why, folder, train, test = prepared
    report: dict[str, Any] = {
        "command": args.command,
        "data": {
            "file": Path(args.data).name,
            "target": args.target,
            "rows_trained": len(train[0]),
            "rows_held_out": len(test[0]) if test else 0,
            "rows_without_target": table.n_dropped,
            "columns": list(table.X.columns),
        },
        "task": task,
        "task_because": why,
        "estimator": type(estimator).__name__,
        "seed": args.seed,
        "fit_seconds": fit_seconds,
        "environment": environment(),
        **(more or {}),
    }
    if test:
        report["held_out"] = _score(task, estimator, train, test)
        print(_score_line(report["held_out"]))
    _save(estimator, folder, report)
    write_json(folder / REPORT_NAME, report)
    if not args.no_export:
        try:
            report["export"] = _export(estimator, folder, train[0])
        except Exception as error:
            raise RuntimeError(
                f"the model is saved as {folder / MODEL_NAME}, but not exported: {error}"
            ) from error
        write_json(folder / REPORT_NAME, report)
    print(f"results are in {folder}")


def _task(task: str, table: TrainingTable) -> tuple[str, str]:
    if task == "auto":
        return decide_task(table.y)
    check_task(task, table.y)
    return task, "--task says so"


def _estimator(args: argparse.Namespace, task: str) -> Any:
    import autokit

    kind = "Classifier" if task == "classification" else "Regressor"
    if args.estimator == "keras":
        return getattr(autokit, f"Keras{kind}")(random_state=args.seed)
    budget = DEFAULT_TIME_BUDGET_S if args.time_budget is None else args.time_budget
    return getattr(autokit, f"NAS{kind}")(time_budget_s=budget, random_state=args.seed, verbose=1)


def _split(table: TrainingTable, task: str, holdout: float, seed: int) -> tuple[Any, Any]:
    """Return (X, y) to train on and (X, y) to score on, stratified where classes allow it."""
    X, y = table.X, table.y
    n_test = round(holdout * len(y))
    if n_test < 2:
        return (X, y), None
    from sklearn.model_selection import train_test_split

    counts = y.value_counts()
    stratify = task == "classification" and counts.min() >= 2 and n_test >= len(counts)
    parts = train_test_split(
        X, y, test_size=n_test, random_state=seed, stratify=y if stratify else None
    )
    X_train, X_test, y_train, y_test = parts
    return (X_train, y_train), (X_test, y_test)


def _score(task: str, estimator: Any, train: Any, test: Any) -> dict[str, float]:
    X, y = test
    predictions = estimator.predict(X)
    if task == "classification":
        return {
            "accuracy": float((predictions == y.to_numpy()).mean()),
            "accuracy_of_the_most_frequent_class": float((y == train[1].mode()[0]).mean()),
        }
    errors = y.to_numpy(dtype=float) - predictions
    from_mean = y.to_numpy(dtype=float) - float(train[1].mean())
    return {
        "r2": float(estimator.score(X, y)),
        "rmse": float((errors**2).mean() ** 0.5),
        "rmse_of_the_mean": float((from_mean**2).mean() ** 0.5),
    }


def _score_line(scores: dict[str, float]) -> str:
    named = (f"{name.replace('_', ' ')} {value:.4g}" for name, value in scores.items())
    return f"on the held-out rows: {', '.join(named)}"


def _save(estimator: Any, folder: Path, report: dict[str, Any]) -> None:
    from autokit.persistence import save

    save(estimator, folder / MODEL_NAME)
    report["parameters"] = int(estimator.model_.count_params())
    if hasattr(estimator, "search_result_"):
        result = estimator.search_result_
        result.plot_history(folder / HISTORY_NAME)
        report["best_architecture"] = estimator.best_architecture_
        report["trials"] = len(result.evaluations)


def _export(estimator: Any, folder: Path, X: Any) -> Any:
    from autokit.deploy import export_tflite

    exported = export_tflite(estimator, folder / TFLITE_NAME, representative_data=X, overwrite=True)
    print(f"{folder / TFLITE_NAME}: {describe_export(exported)}")
    return exported

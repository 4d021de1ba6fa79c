"""The main job on data that ships with scikit-learn: search, compare, export, run the files.

scikit-learn's digits (1797 images of 8 x 8) are split 75/25, `NASClassifier` searches a network
within a time budget, a logistic regression and a random forest are trained beside it, and the
network is exported as a float32 and a full-int8 TFLite file which LiteRT runs on the held-out
quarter.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from autokit.report import ModelRow, environment, measure, output_folder, print_rows, write_json

# The split is the same for every seed of the search, so that runs can be compared.
_SPLIT_SEED = 0
_TEST_SHARE = 0.25
_FILES = {"float32": None, "int8": "int8"}


def run(
    *,
    time_budget_s: float = 60.0,
    out: str | os.PathLike = "autokit-quickstart",
    seed: int = 0,
    console: Console | None = None,
) -> dict[str, Any]:
    """Run the main job and leave its results in a folder.

    Parameters
    ----------
    time_budget_s : float, default=60
        Seconds of search.
    out : path-like, default="autokit-quickstart"
        Folder for ``model.autokit``, ``model_float32.tflite``, ``model_int8.tflite``,
        ``report.json`` and ``search_history.png``; files of an earlier run are replaced.
    seed : int, default=0
        Of the search and of the random forest. The split never changes.
    console : rich.console.Console, default=None
        Where the table is printed; standard output by default.

    Returns
    -------
    dict
        The content of ``report.json``.

    Raises
    ------
    OSError
        The folder cannot be written to; found before the search.
    """
    console = console or Console()
    folder = output_folder(out)
    console.print("loading TensorFlow ...")
    from autokit.nas import NASClassifier

    X_train, X_test, y_train, y_test = split_digits()
    console.print(f"searching a network for handwritten digits, {time_budget_s:g} s ...")
    began = time.perf_counter()
    classifier = NASClassifier(time_budget_s=time_budget_s, random_state=seed, verbose=1)
    classifier.fit(X_train, y_train)
    search_s = time.perf_counter() - began
    result = classifier.search_result_
    _save(classifier, folder)

    console.print("\ntraining the baselines, exporting, running the files in LiteRT ...")
    rows = _baselines(X_train, y_train, X_test, y_test, seed)
    file_rows, exports = _run_files(classifier, folder, X_train, X_test, y_test)
    rows += file_rows
    report = {
        "command": "quickstart",
        "data": {
            "name": "sklearn.datasets.load_digits",
            "rows_trained": len(X_train),
            "rows_held_out": len(X_test),
            "split_seed": _SPLIT_SEED,
        },
        "seed": seed,
        "time_budget_s": time_budget_s,
        "fit_seconds": search_s,
        "trials": len(result.evaluations),
        "best_architecture": classifier.best_architecture_,
        "parameters": classifier.model_.count_params(),
        "models": rows,
        "exports": exports,
        "environment": environment(),
    }
    write_json(folder / "report.json", report)
    print_rows(
        console,
        f"{len(X_test)} held-out digits, after {len(result.evaluations)} trials "
        f"in {search_s:.0f} s",
        rows,
    )
    console.print(f"agreement is with the network in Keras; results are in {folder}")
    return report


def split_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return digits as (X_train, X_test, y_train, y_test), images of shape (n, 8, 8)."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    return train_test_split(
        digits.images,
        digits.target,
        test_size=_TEST_SHARE,
        stratify=digits.target,
        random_state=_SPLIT_SEED,
    )


def _save(classifier: Any, folder: Path) -> None:
    from autokit.persistence import save

    save(classifier, folder / "model.autokit")
    classifier.search_result_.plot_history(folder / "search_history.png")


def _baselines(X_train, y_train, X_test, y_test, seed: int) -> list[ModelRow]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    models = {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "random forest": RandomForestClassifier(300, random_state=seed),
    }
    flat_train, flat_test = (X.reshape(len(X), -1) for X in (X_train, X_test))
    return [
        measure(name, model.fit(flat_train, y_train).predict, flat_test, y_test)[0]
        for name, model in models.items()
    ]


def _run_files(
    classifier: Any, folder: Path, X_train, X_test, y_test
) -> tuple[list[ModelRow], dict[str, Any]]:
    """Export, and compare the files with the network in Keras, the first row."""
    from autokit.deploy import TFLiteModel, export_tflite

    keras_row, reference = measure("network in Keras", classifier.predict, X_test, y_test)
    rows, exports = [keras_row], {}
    for name, quantization in _FILES.items():
        path = folder / f"model_{name}.tflite"
        exports[name] = export_tflite(
            classifier, path, quantization=quantization, representative_data=X_train, overwrite=True
        )
        row, _ = measure(
            f"{name} file in LiteRT",
            TFLiteModel(path).predict,
            X_test,
            y_test,
            reference=reference,
            size_bytes=path.stat().st_size,
        )
        rows.append(row)
    return rows, exports

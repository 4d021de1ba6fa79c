"""What each command does; the heavy imports come after the checks that need none of them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

DEFAULT_TIME_BUDGET_S = 60.0


def quickstart(args: argparse.Namespace) -> None:
    """Run the main job on handwritten digits."""
    from autokit.quickstart import run

    run(time_budget_s=args.time_budget, out=args.out, seed=args.seed)


def fit(args: argparse.Namespace) -> None:
    """Train on a CSV file and leave the model, its TFLite file and a report."""
    from autokit.cli.training import fit_table

    fit_table(args)


def tune(args: argparse.Namespace) -> None:
    """Search the parameters of a network for a CSV file, and leave what `fit` leaves."""
    from autokit.cli.tuning import tune_table

    tune_table(args)


def predict(args: argparse.Namespace) -> None:
    """Predict the rows of a CSV file."""
    from autokit.cli.csv_files import read_rows

    _must_exist(args.data)
    model, rows = _open_model(args.model)
    X, left_out = read_rows(args.data, rows)
    if left_out:
        _note(f"columns that the model does not know are left out: {', '.join(left_out)}")
    table = _predictions(model, X, args.proba)
    table.to_csv(args.out or sys.stdout, index=False, lineterminator="\n")
    if args.out:
        _note(f"{len(table)} predictions written to {args.out}")


def export(args: argparse.Namespace) -> None:
    """Write a saved model as a TFLite file."""
    from autokit.cli.csv_files import read_rows, read_training
    from autokit.report import output_folder

    out = Path(args.out)
    _must_exist(args.model)
    if args.representative_data:
        _must_exist(args.representative_data)
    output_folder(out.parent)
    from autokit.deploy import export_tflite
    from autokit.persistence import load

    estimator = load(args.model)
    X = y = None
    if args.representative_data:
        X, _ = read_rows(args.representative_data, estimator.encoder_.describe())
    if args.target:
        y = read_training(args.representative_data, args.target).y
    report = export_tflite(
        estimator,
        out,
        quantization=None if args.quantization == "none" else args.quantization,
        representative_data=X,
        representative_target=y,
        signatures=("embed", "train_head", "infer") if args.trainable else (),
        overwrite=args.overwrite,
    )
    print(f"{out}: {describe_export(report)}")


def benchmark(args: argparse.Namespace) -> None:
    """Time a TFLite file on this machine."""
    _must_exist(args.file)
    from autokit.deploy import benchmark as time_file

    report = time_file(args.file, n_threads=args.threads, n_runs=args.runs)
    latency = report.latency_ms
    print_pairs(
        {
            "file": f"{args.file}, {report.size_bytes / 1000:.1f} kB",
            "latency of one row": f"median {latency.median:.3f} ms (10 % below {latency.p10:.3f}, "
            f"10 % above {latency.p90:.3f}, 1 % above {latency.p99:.3f})",
            "loading": f"{report.load_ms:.1f} ms",
            "memory": "unknown"
            if report.memory_mib is None
            else f"{report.memory_mib:.1f} MiB more at the peak",
            "operators": "LiteRT's Python package gives no profile; on a device, use its "
            "benchmark_model --enable_op_profiling=true"
            if report.ops_ms is None
            else ", ".join(f"{name} {ms:.3f} ms" for name, ms in report.ops_ms.items()),
            "runs, threads": f"{report.n_runs}, {report.n_threads}",
        }
    )


def latencies(args: argparse.Namespace) -> None:
    """Time architectures of a space on this machine, for a latency predictor."""
    from autokit.nas.hardware import record_latencies
    from autokit.nas.spaces import SPACES

    def show(n_measured: int, architecture: Any, latency_ms: float) -> None:
        _note(f"{n_measured} of {args.n}: {latency_ms:.3f} ms")

    path = record_latencies(
        SPACES[args.space](),
        args.out,
        args.input_shape,
        args.outputs,
        n=args.n,
        seed=args.seed,
        on_measured=show,
    )
    print(path)


def info(args: argparse.Namespace) -> None:
    """Show versions, or what a model file holds."""
    if args.file is None:
        from autokit.report import environment

        print_pairs(environment())
        return
    _must_exist(args.file)
    if args.file.endswith(".tflite"):
        print_pairs(_describe_tflite(args.file))
    else:
        print_pairs(_describe_saved(args.file))


def describe_export(report: Any) -> str:
    """Return an `ExportReport` as half a line."""
    if report.agreement is None:
        proof = f"differs from Keras by at most {report.max_abs_error:.2g}"
    else:
        proof = f"says the same as Keras in {report.agreement:.2%}"
    return (
        f"{report.size_bytes / 1000:.1f} kB, {proof} (of {report.n_rows} rows), "
        f"{report.latency_ms.median:.3f} ms a row"
        + ("" if report.score is None else f", {_describe_score(report.score._asdict())}")
    )


def _open_model(path: str) -> tuple[Any, dict[str, Any]]:
    """Load a model of either kind, and what it says of the rows that it takes."""
    _must_exist(path)
    if not path.endswith(".tflite"):
        from autokit.persistence import load

        estimator = load(path)
        return estimator, estimator.encoder_.describe()
    from autokit.deploy import TFLiteModel

    model = TFLiteModel(path)
    if model.metadata.get("rows") is None:
        raise ValueError(
            f"{path} does not say which columns it takes: autokit did not write it from an "
            "estimator; use autokit.TFLiteModel in Python."
        )
    return model, model.metadata["rows"]


def _predictions(model: Any, X: Any, proba: bool) -> Any:
    import pandas as pd

    if proba and not hasattr(model, "classes_"):
        raise ValueError("--proba needs a classifier, and the model is a regressor; leave it out.")
    if proba:
        # One forward for both columns: the class is where the probability is highest.
        probabilities = model.predict_proba(X)
        table = pd.DataFrame({"prediction": model.classes_[probabilities.argmax(axis=1)]})
        for label, column in zip(model.classes_, probabilities.T, strict=True):
            table[f"probability_{label}"] = column
        return table
    predictions = model.predict(X)
    if predictions.ndim == 1:
        return pd.DataFrame({"prediction": predictions})
    names = [f"prediction_{i}" for i in range(predictions.shape[1])]
    return pd.DataFrame(predictions, columns=names)


def _describe_tflite(path: str) -> dict[str, Any]:
    from autokit.deploy import TFLiteModel

    model = TFLiteModel(path)
    pairs: dict[str, Any] = {"file": f"{path}, {Path(path).stat().st_size / 1000:.1f} kB"}
    for key in ("autokit", "task"):
        if key in model.metadata:
            pairs[key] = model.metadata[key]
    if "quantization" in model.metadata:
        pairs["quantization"] = model.metadata["quantization"] or "none, float32"
    if "score" in model.metadata:
        pairs["score"] = _describe_score(model.metadata["score"])
    if model.metadata.get("rows") is not None:
        pairs["takes"] = _describe_rows(model.metadata["rows"])
        pairs["normalisation"] = model.metadata["rows"].get("normalization", "not told")
    for signature, sides in model.metadata.get("signatures", {}).items():
        for side in ("inputs", "outputs"):
            for tensor in sides[side]:
                name = f"{signature} {side[:-1]} {tensor['name']}"
                pairs[name] = _describe_tensor(tensor)
    if not model.metadata:
        for name, (shape, dtype) in model.specs().items():
            kind = "text" if dtype.kind == "S" else dtype.name
            pairs[f"input {name}"] = f"{kind} ({', '.join(map(str, ('n', *shape)))})"
    if model.metadata.get("classes") is not None:
        pairs["classes"] = ", ".join(map(str, model.metadata["classes"]))
    if "sha256" in model.metadata:
        pairs["sha256"] = model.metadata["sha256"]
    return pairs


def _describe_score(score: dict[str, Any]) -> str:
    return f"{score['name']} {score['value']:.4f} on {score['n_rows']} rows"


def _describe_tensor(tensor: dict[str, Any]) -> str:
    kind = "text" if tensor["dtype"] == "string" else tensor["dtype"]
    shape = ", ".join("n" if size is None else str(size) for size in tensor["shape"])
    if "scale" not in tensor:
        return f"{kind} ({shape})"
    return f"{kind} ({shape}), (value - {tensor['zero_point']}) * {tensor['scale']:.6g}"


def _describe_saved(path: str) -> dict[str, Any]:
    from autokit.persistence import load

    estimator = load(path)
    pairs: dict[str, Any] = {
        "file": f"{path}, {Path(path).stat().st_size / 1000:.1f} kB",
        "estimator": repr(estimator),
    }
    if hasattr(estimator, "encoder_"):
        pairs["takes"] = _describe_rows(estimator.encoder_.describe())
    if hasattr(estimator, "model_"):
        pairs["network"] = f"{estimator.model_.count_params():,} parameters"
    if hasattr(estimator, "best_architecture_"):
        pairs["architecture"] = estimator.best_architecture_
    if hasattr(estimator, "classes_"):
        pairs["classes"] = ", ".join(map(str, estimator.classes_))
    return pairs


def _describe_rows(description: dict[str, Any]) -> str:
    if description["kind"] != "table":
        return f"{description['kind']} rows of shape {tuple(description['shape'])}"
    columns = description["columns"]
    shown = [
        f"{i if column['name'] is None else column['name']} ({column['kind']})"
        for i, column in enumerate(columns[:20])
    ]
    more = f" and {len(columns) - 20} more" if len(columns) > 20 else ""
    return f"{len(columns)} columns: {', '.join(shown)}{more}"


def _must_exist(path: str) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path.")


def _note(text: str) -> None:
    sys.stderr.write(f"autokit: {text}\n")


def print_pairs(pairs: dict[str, Any]) -> None:
    """Print names and values in two columns."""
    width = max(map(len, pairs))
    for key, value in pairs.items():
        print(f"{key:<{width}}  {value}")

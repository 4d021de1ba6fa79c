"""What `autokit federated serve` trains, as its model and its options say."""

from __future__ import annotations

import argparse
import contextlib
import zipfile
import zlib
from typing import Any


def estimator_of(args: argparse.Namespace) -> Any:
    """Make what is served: with its network, and what the options say.

    Raises
    ------
    ValueError
        The options do not fit the model, or each other.
    """
    settings = {
        "n_rounds": args.rounds,
        "algorithm": args.algorithm,
        "clients_per_round": args.clients_per_round,
        "local_epochs": args.local_epochs,
        "batch_size": args.batch_size,
        "client_learning_rate": args.learning_rate,
        "privacy": _privacy(args),
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    if args.model.endswith(".keras"):
        return _of_network(args, settings)
    from autokit.federated import FederatedTrainer
    from autokit.federated.lifecycle import FederatedEstimator
    from autokit.persistence import load

    estimator = load(args.model)
    if not isinstance(estimator, FederatedEstimator):
        raise ValueError(
            f"{args.model} holds a {type(estimator).__name__}; serve a FederatedTrainer, a "
            "FederatedRegressor, or a .keras file."
        )
    estimator.set_params(**settings)
    if hasattr(estimator, "model_"):
        estimator._validate_params()
        return estimator
    if args.example is None:
        raise ValueError(
            f"the estimator in {args.model} is not fitted and knows neither columns nor classes; "
            "give rows such as the nodes have by --example."
        )
    from autokit.federated.engines.flower.serving import begin

    classes = _classes(args)
    if classes is not None and not isinstance(estimator, FederatedTrainer):
        raise ValueError(
            f"{args.model} holds a {type(estimator).__name__}, which has no classes; leave "
            "--classes out."
        )
    return begin(estimator, *_example(args.example), classes)


def _of_network(args: argparse.Namespace, settings: dict[str, Any]) -> Any:
    import numpy as np

    from autokit._backend import keras
    from autokit.federated import FederatedRegressor, FederatedTrainer
    from autokit.federated.engines.flower.serving import begin

    model = keras.saving.load_model(args.model, compile=False, safe_mode=True)
    shape = model.input_shape
    if isinstance(shape, list | dict) or None in shape[1:]:
        raise ValueError(
            f"the network in {args.model} takes {shape}; one array of a known shape can be served."
        )
    classes = _classes(args)
    if classes is not None:
        _check_outputs(args, model.output_shape[-1], classes)
    n_rows = 2 if classes is None else len(classes)
    X = np.zeros((n_rows, *shape[1:]), np.float32)
    if classes is not None:
        return begin(FederatedTrainer(model, **settings), X, classes)
    n_outputs = model.output_shape[-1]
    y = np.zeros(n_rows if n_outputs == 1 else (n_rows, n_outputs), np.float32)
    return begin(FederatedRegressor(model, **settings), X, y)


def _check_outputs(args: argparse.Namespace, n_outputs: int, classes) -> None:
    if n_outputs == len(classes) or (n_outputs == 1 and len(classes) == 2):
        return
    wanted = "2 classes, or none" if n_outputs == 1 else f"{n_outputs} classes"
    raise ValueError(
        f"the network in {args.model} has {_counted(n_outputs, 'output')}, and --classes names "
        f"{_counted(len(classes), 'class')}; name {wanted}."
    )


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}{'es' if what.endswith('s') else 's'}"


def _example(path: str) -> tuple:
    """X and y of the server's own rows."""
    import numpy as np

    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as rows:
            return rows["X"], rows["y"]
    except (ValueError, KeyError, EOFError, AttributeError, TypeError,
            zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise ValueError(
            f"--example {path} must be an .npz file with the plain arrays X and y, written by "
            "np.savez(path, X=X, y=y)."
        ) from error


def _privacy(args: argparse.Namespace):
    if args.epsilon is None and args.delta is None and args.clip_norm is None:
        return None
    if args.epsilon is None or args.delta is None:
        raise ValueError("a budget of privacy takes both --epsilon and --delta; give both.")
    from autokit.privacy import DifferentialPrivacy

    norm = 1.0 if args.clip_norm is None else args.clip_norm
    return DifferentialPrivacy(args.epsilon, args.delta, clip_norm=norm)


def _classes(args: argparse.Namespace):
    if args.classes is None:
        return None
    import numpy as np

    labels: list = [label.strip() for label in args.classes.split(",")]
    with contextlib.suppress(ValueError):
        labels = [int(label) for label in labels]
    if "" in labels or len(set(labels)) < len(labels):
        raise ValueError(
            "--classes must name each class once, with a comma between two of them, such as "
            f"no,yes; got {args.classes!r}."
        )
    return np.array(labels)

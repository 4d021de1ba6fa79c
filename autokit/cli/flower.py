"""`autokit federated`: federated learning on several machines, by Flower."""

from __future__ import annotations

import argparse
import math
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Keys of autokit.federated.algorithms.ALGORITHMS, which takes TensorFlow to import.
ALGORITHMS = (
    "fedadagrad", "fedadam", "fedavg", "fedavgm", "fedprox", "fedsgd", "fedyogi", "scaffold"
)  # fmt: skip
DEFAULT_ADDRESS = "0.0.0.0:9092"


def add_parser(add_command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command and what it can do.

    Parameters
    ----------
    add_command : callable
        ``(name, run, text, among=...) -> parser``, of `autokit.cli.parser`.
    """
    sub = add_command("federated", None, "train one model on the rows of several machines")
    actions = sub.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_serve(
        add_command(
            "serve", serve_model, "be the server: train a model on nodes that join", actions
        )
    )
    _add_join(add_command("join", join_server, "be a node: train on this machine's rows", actions))
    certificate = add_command(
        "certificate", make_certificate, "make a certificate for the server's TLS", actions
    )
    certificate.add_argument(
        "--host",
        action="append",
        required=True,
        metavar="NAME",
        help="that nodes call the server by, or its IP address; may be given again",
    )
    certificate.add_argument(
        "--out",
        default="autokit-certificate",
        metavar="DIR",
        help="gets server.pem and server.key, for the server, and root.pem and join.secret, for "
        "the nodes too (default: %(default)s)",
    )


def _add_serve(sub: argparse.ArgumentParser) -> None:
    sub.description = (
        "Start Flower's SuperLink, wait for nodes, train the model on their rows, and save it. "
        "The nodes need root.pem, join.secret, and rows (.npz with X and y) such as the model "
        "knows."
    )
    sub.add_argument(
        "model",
        metavar="MODEL",
        help="a .autokit file of a FederatedTrainer or FederatedRegressor, which is trained on if "
        "it is fitted; or a .keras file",
    )
    sub.add_argument("--out", required=True, metavar="FILE.autokit", help="the trained estimator")
    sub.add_argument("--overwrite", action="store_true", help="replace that file")
    sub.add_argument(
        "--classes",
        metavar="A,B,C",
        help="all labels, in any order, of a classifier in a .keras file; without them it is a "
        "regressor",
    )
    sub.add_argument(
        "--example",
        metavar="FILE.npz",
        help="rows X and y such as the nodes have, for columns, scaling and classes of an unfitted "
        ".autokit file; they are not trained on",
    )
    sub.add_argument("--rounds", type=_count, metavar="N", help="default: the model's, or 50")
    sub.add_argument("--algorithm", choices=ALGORITHMS, help="default: the model's, or fedavg")
    sub.add_argument(
        "--clients-per-round", type=_count, metavar="N", help="default: the model's, or all"
    )
    sub.add_argument("--local-epochs", type=_count, metavar="N", help="default: the model's, or 1")
    sub.add_argument("--batch-size", type=_count, metavar="N", help="default: the model's, or 32")
    sub.add_argument(
        "--learning-rate", type=_positive, metavar="R", help="of the clients (default: the model's)"
    )
    sub.add_argument(
        "--epsilon",
        type=_positive,
        metavar="E",
        help="hide each client by noise of the server, within this budget for all rounds (default: "
        "the model's privacy, or none)",
    )
    sub.add_argument(
        "--delta",
        type=_positive,
        metavar="D",
        help="of the budget, well below one over the number of clients",
    )
    sub.add_argument(
        "--clip-norm",
        type=_clip_norm,
        metavar="C",
        help="what each client's update is cut to, or adaptive (default: 1)",
    )
    sub.add_argument(
        "--min-nodes", type=_count, default=2, metavar="N", help="to wait for (default: 2)"
    )
    sub.add_argument(
        "--timeout",
        type=_positive,
        default=600.0,
        metavar="S",
        help="seconds that a node may take for a round (default: 600)",
    )
    sub.add_argument(
        "--wait", type=_positive, metavar="S", help="for nodes, at most (default: for ever)"
    )
    sub.add_argument(
        "--address",
        default=DEFAULT_ADDRESS,
        metavar="HOST:PORT",
        help="to listen on (default: %(default)s)",
    )
    sub.add_argument("--certificate", metavar="FILE", help="server.pem")
    sub.add_argument("--key", metavar="FILE", help="server.key")
    sub.add_argument("--root-certificate", metavar="FILE", help="root.pem")
    sub.add_argument(
        "--secret",
        metavar="FILE",
        help="join.secret, which nodes must know (default: whoever reaches the port may join)",
    )
    _add_insecure(sub)


def _add_join(sub: argparse.ArgumentParser) -> None:
    sub.description = (
        "Train on rows of this machine until the server ends the training. The rows stay here; "
        "updates of the network, the clients' names and sizes, and losses are sent."
    )
    sub.add_argument("--superlink", required=True, metavar="HOST:PORT", help="of the server")
    sub.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="FILE.npz",
        help="X and y of a client each, which is called by the file's name",
    )
    sub.add_argument("--name", default="", help="of this machine, before the clients' names")
    sub.add_argument("--root-certificate", metavar="FILE", help="the server's root.pem")
    sub.add_argument("--secret", metavar="FILE", help="the server's join.secret, if it asks for it")
    sub.add_argument(
        "--patience",
        type=_positive,
        default=300.0,
        metavar="S",
        help="seconds to try to reach the server (default: 300)",
    )
    _add_insecure(sub)


def _add_insecure(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--insecure",
        action="store_true",
        help="go without TLS: whoever is on the way can read and change what is sent",
    )


def make_certificate(args: argparse.Namespace) -> None:
    """Make an authority, and a certificate that it signs."""
    from autokit.federated.engines.flower import make_certificates
    from autokit.federated.engines.flower.installed import require_flower

    require_flower()  # it brings what makes certificates
    made = make_certificates(args.host, args.out)
    print(f"for the server: --certificate {made.certificate} --key {made.key} "
          f"--root-certificate {made.root} --secret {made.secret}")  # fmt: skip
    print(f"for the nodes:  --root-certificate {made.root} --secret {made.secret}")


def serve_model(args: argparse.Namespace) -> None:
    """Train a model on the nodes that join, and save it."""
    credentials = _credentials(args)
    out = Path(args.out)
    if not Path(args.model).is_file():
        raise FileNotFoundError(f"there is no file {args.model}; check the path.")
    if out.exists() and not args.overwrite:
        raise FileExistsError(f"{out} exists; choose another --out, or say --overwrite.")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.parent}; make it, or choose another.")
    from autokit.federated.engines.flower import serve
    from autokit.federated.engines.flower.serving import parse_address
    from autokit.persistence import save

    parse_address(args.address)
    estimator = _estimator(args)
    own = estimator.callbacks
    estimator.set_params(callbacks=[_telling(estimator)])
    # whoever stops the server: nodes are told, and what was trained is saved
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        serve(
            estimator,
            args.address,
            credentials,
            insecure=args.insecure,
            min_nodes=args.min_nodes,
            timeout_s=args.timeout,
            start_timeout_s=args.wait,
            say=_say,
        )
    finally:
        estimator.set_params(callbacks=own)
        if estimator.n_rounds_:
            save(estimator, out)
    print(f"{out}: {estimator.n_rounds_} rounds, {_last(estimator.history_)}")


def join_server(args: argparse.Namespace) -> None:
    """Be a node until the server ends the training."""
    from autokit.federated.engines.flower import join

    said = join(
        args.superlink,
        args.data,
        args.root_certificate,
        secret=args.secret,
        insecure=args.insecure,
        name=args.name,
        patience_s=args.patience,
    )
    print(said)


def _credentials(args: argparse.Namespace):
    given = (args.certificate, args.key, args.root_certificate)
    if args.insecure and any((*given, args.secret)):
        raise ValueError("--insecure and certificates exclude each other; leave one out.")
    if args.insecure:
        return None
    if not all(given):
        raise ValueError(
            "TLS needs --certificate, --key and --root-certificate (`autokit federated "
            "certificate` makes them); say --insecure to go without."
        )
    from autokit.federated.engines.flower import Credentials

    credentials = Credentials(*given, args.secret)
    credentials.check()
    return credentials


def _estimator(args: argparse.Namespace) -> Any:
    """What is served: with its network, and what the options say."""
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
    import numpy as np

    from autokit.federated.engines.flower.serving import begin

    with np.load(args.example, allow_pickle=False) as rows:
        return begin(estimator, rows["X"], rows["y"], _classes(args))


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
    n_rows = 2 if classes is None else len(classes)
    X = np.zeros((n_rows, *shape[1:]), np.float32)
    if classes is not None:
        return begin(FederatedTrainer(model, **settings), X, classes)
    n_outputs = model.output_shape[-1]
    y = np.zeros(n_rows if n_outputs == 1 else (n_rows, n_outputs), np.float32)
    return begin(FederatedRegressor(model, **settings), X, y)


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

    labels = [label.strip() for label in args.classes.split(",")]
    try:
        return np.array([int(label) for label in labels])
    except ValueError:
        return np.array(labels)


def _telling(estimator: Any):
    """A callback that says how each round went."""
    from autokit._backend import keras

    class Telling(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            _say(f"round {epoch + 1}: {_last(estimator.history_)}")

    return Telling()


def _last(history: dict[str, list]) -> str:
    names = ("loss", "score", "epsilon")
    parts = [f"{name} {history[name][-1]:.4f}" for name in names if history.get(name)]
    parts.append(f"{len(history['clients'][-1])} clients")
    parts += [f"without {name} ({why})" for name, why in history["dropped"][-1].items()]
    return ", ".join(parts)


def _say(text: str) -> None:
    sys.stderr.write(f"autokit: {text}\n")
    sys.stderr.flush()


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def _clip_norm(text: str) -> float | str:
    return text if text == "adaptive" else _positive(text)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text}")
    return value

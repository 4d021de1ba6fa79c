"""`autokit federated`: federated learning on several machines, by Flower."""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from autokit.cli.serving import estimator_of

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
    estimator = estimator_of(args)
    own = estimator.callbacks
    estimator.set_params(callbacks=[_telling(estimator)])
    # whoever stops the server: nodes are told, and what was trained is saved
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    before, is_done = estimator.n_rounds_, False
    try:
        with _logged_as_lines():
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
        is_done = True
    finally:
        estimator.set_params(callbacks=own)
        if estimator.n_rounds_ > before:
            save(estimator, out)
            if not is_done:
                _say(f"{out} holds what was trained until now ({_rounds(estimator)}); serve it to "
                     "go on from there")  # fmt: skip
    print(f"{out}: {_rounds(estimator)}, {_last(estimator.history_)}")


def join_server(args: argparse.Namespace) -> None:
    """Be a node until the server ends the training."""
    from autokit.federated.engines.flower import join

    with _logged_as_lines():
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


def _telling(estimator: Any):
    """A callback that says how each round went."""
    from autokit._backend import keras

    class Telling(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            _say(f"round {epoch + 1}: {_last(estimator.history_)}")

    return Telling()


def _rounds(estimator: Any) -> str:
    return f"{estimator.n_rounds_} round{'' if estimator.n_rounds_ == 1 else 's'}"


def _last(history: dict[str, list]) -> str:
    names = ("loss", "score", "epsilon")
    parts = [f"{name} {history[name][-1]:.4f}" for name in names if history.get(name)]
    parts.append(f"{len(history['clients'][-1])} clients")
    parts += [f"without {name} ({why})" for name, why in history["dropped"][-1].items()]
    return ", ".join(parts)


@contextlib.contextmanager
def _logged_as_lines() -> Iterator[None]:
    """Tell what autokit logs, such as nodes that were sent away, as all else is told here."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            _say(self.format(record))

    logger, lines = logging.getLogger("autokit"), Lines(logging.WARNING)
    logger.addHandler(lines)
    try:
        yield
    finally:
        logger.removeHandler(lines)


def _say(text: str) -> None:
    sys.stderr.write(f"autokit: {text}\n")
    sys.stderr.flush()


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return value


def _clip_norm(text: str) -> float | str:
    if text == "adaptive":
        return text
    try:
        return _positive(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            f"must be a positive number, or adaptive, got {text!r}"
        ) from error


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text!r}")
    return value

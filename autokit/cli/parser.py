"""The arguments of the `autokit` command."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

import autokit
from autokit.cli import commands, flower, tff

# Keys of autokit.deploy.quantizers.QUANTIZERS, which takes TensorFlow to import.
QUANTIZATIONS = ("none", "dynamic", "float16", "int8", "int4", "int16x8")
# Keys of autokit.nas.spaces.SPACES, likewise.
SPACES = ("cell", "cnn", "mlp", "nb201")
# Keys of autokit.tuning.samplers.TUNERS and autokit.tuning.pruning.PRUNERS, likewise.
TUNERS = ("bayesian", "cmaes", "gp", "grid", "hyperband", "nsga2", "random", "tpe")
PRUNERS = ("halving", "hyperband", "median", "wilcoxon")
_EXIT_CODES = "Exit codes: 0 success, 1 failure (one line on stderr), 2 wrong usage."


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments; wrong ones end the process with 2."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.command == "export" and args.target and not args.representative_data:
        parser.error("--target is a column of --representative-data: give both")
    if args.command == "fit" and args.estimator == "keras" and args.time_budget is not None:
        parser.error("--time-budget goes with --estimator nas: keras searches nothing")
    return args


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; ``parse_args(...).run`` is the command's function."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show stack traces and all that the libraries log",
    )
    parser = argparse.ArgumentParser(
        prog="autokit",
        description="Find a Keras model for your data, and run it as a TFLite file.",
        epilog=_EXIT_CODES,
        parents=[common],
    )
    parser.set_defaults(debug=False)
    parser.add_argument("--version", action="version", version=f"autokit {autokit.__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable | None, text: str, among=subparsers
    ) -> argparse.ArgumentParser:
        description = f"{text[0].upper()}{text[1:]}."
        sub = among.add_parser(
            name, parents=[common], help=text, description=description, epilog=_EXIT_CODES
        )
        if run is not None:
            sub.set_defaults(run=run)
        return sub

    _add_quickstart(
        command("quickstart", commands.quickstart, "search, export and check a model for digits")
    )
    _add_fit(command("fit", commands.fit, "train a model on a CSV file, save and export it"))
    _add_tune(command("tune", commands.tune, "search the parameters of a network for a CSV file"))
    _add_predict(command("predict", commands.predict, "predict the rows of a CSV file"))
    _add_export(command("export", commands.export, "write a saved model as a TFLite file"))
    _add_benchmark(command("benchmark", commands.benchmark, "time a TFLite file on this machine"))
    _add_latencies(
        command("latencies", commands.latencies, "time architectures of a space on this machine")
    )
    tff.add_parser(command)
    flower.add_parser(command)
    _add_info(command("info", commands.info, "show versions, or what a model file holds"))
    return parser


def _add_quickstart(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--time-budget",
        type=seconds,
        default=60.0,
        metavar="S",
        help="seconds of search (default: 60)",
    )
    sub.add_argument(
        "--out",
        default="autokit-quickstart",
        metavar="DIR",
        help="folder of the results (default: %(default)s)",
    )
    _add_seed(sub)


def _add_fit(sub: argparse.ArgumentParser) -> None:
    _add_training(sub)
    sub.add_argument(
        "--estimator",
        choices=("nas", "keras"),
        default="nas",
        help="search an architecture (default), or train the default network",
    )
    sub.add_argument(
        "--time-budget",
        type=seconds,
        metavar="S",
        help="seconds of search (default: 60); only with --estimator nas",
    )


def _add_tune(sub: argparse.ArgumentParser) -> None:
    sub.description = (
        "Search the learning rate (1e-4 to 3e-2), the batch size (16 to 128), and the width "
        "(32 to 256), depth (1 to 3) and dropout (0 to 0.4) of a perceptron; each is trained with "
        "early stopping, up to 100 epochs. The best is trained on all rows, saved and exported."
    )
    _add_training(sub)
    sub.add_argument(
        "--estimator", choices=("keras",), default="keras", help="what is tuned (default: keras)"
    )
    sub.add_argument(
        "--tuner", choices=TUNERS, default="tpe", help="who proposes trials (default: %(default)s)"
    )
    sub.add_argument(
        "--trials",
        type=count,
        default=50,
        metavar="N",
        help="at most, those of a --storage included (default: %(default)s)",
    )
    sub.add_argument(
        "--time-budget", type=seconds, metavar="S", help="seconds at most (default: no limit)"
    )
    sub.add_argument(
        "--cv",
        type=folds,
        default=5,
        metavar="K",
        help="folds that a trial is scored on, stratified for classes (default: %(default)s)",
    )
    sub.add_argument(
        "--scoring",
        metavar="NAME",
        help="a scorer of scikit-learn, such as f1_macro or neg_mean_absolute_error (default: "
        "accuracy, or r2)",
    )
    sub.add_argument(
        "--pruner",
        choices=(*PRUNERS, "none"),
        default="median",
        help="who ends bad trials early (default: %(default)s)",
    )
    sub.add_argument(
        "--storage",
        metavar="FILE",
        help="keeps every trial: the same command goes on where it was interrupted, and several "
        "may work on one search; a database's URL too",
    )


def _add_training(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("data", metavar="DATA.csv", help="with a header; .gz, .zip and .xz too")
    sub.add_argument("--target", required=True, metavar="COL", help="the column to predict")
    sub.add_argument(
        "--task",
        choices=("auto", "classification", "regression"),
        default="auto",
        help="default: decided by the target column, and said",
    )
    sub.add_argument(
        "--holdout",
        type=fraction,
        default=0.2,
        metavar="SHARE",
        help="share of rows to score on and not to train on; 0 for none (default: 0.2)",
    )
    sub.add_argument(
        "--out",
        default="autokit-model",
        metavar="DIR",
        help="folder of the results (default: %(default)s)",
    )
    sub.add_argument("--overwrite", action="store_true", help="replace a model in that folder")
    sub.add_argument("--no-export", action="store_true", help="write no model.tflite")
    _add_seed(sub)


def _add_predict(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("model", metavar="MODEL", help="a .autokit or .tflite file")
    sub.add_argument("data", metavar="DATA.csv", help="with the columns of the training")
    sub.add_argument("--out", metavar="FILE", help="CSV file to write (default: standard output)")
    sub.add_argument("--proba", action="store_true", help="a column of probability for each class")


def _add_export(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("model", metavar="MODEL.autokit")
    sub.add_argument("out", metavar="OUT.tflite")
    sub.add_argument(
        "--quantization",
        choices=QUANTIZATIONS,
        default="none",
        help="default: none, float32",
    )
    sub.add_argument(
        "--representative-data",
        metavar="CSV",
        help="rows like those that the file will see; int8 and int16x8 need them, all are checked "
        "on them",
    )
    sub.add_argument(
        "--target",
        metavar="COL",
        help="column of the representative data: the file is scored on it, and keeps the score",
    )
    sub.add_argument(
        "--trainable",
        action="store_true",
        help="let the file train its last layer: signatures embed, train_head and infer",
    )
    sub.add_argument("--overwrite", action="store_true", help="replace OUT.tflite")


def _add_benchmark(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("file", metavar="FILE.tflite")
    sub.add_argument(
        "--threads", type=count, default=1, metavar="N", help="of the interpreter (default: 1)"
    )
    sub.add_argument(
        "--runs", type=count, default=200, metavar="N", help="timed rows (default: 200)"
    )


def _add_latencies(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("space", choices=SPACES, metavar="SPACE", help=", ".join(SPACES))
    sub.add_argument("out", metavar="OUT.csv", help="for autokit.nas.hardware.read_latencies")
    sub.add_argument(
        "--input-shape",
        type=shape,
        required=True,
        metavar="N,N,N",
        help="of one row, for example 32,32,3",
    )
    sub.add_argument(
        "--outputs", type=count, default=10, metavar="N", help="classes (default: %(default)s)"
    )
    sub.add_argument(
        "--n", type=count, default=50, metavar="N", help="architectures (default: %(default)s)"
    )
    _add_seed(sub)


def _add_info(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("file", nargs="?", metavar="FILE", help="a .autokit or .tflite file")


def _add_seed(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--seed", type=natural, default=0, metavar="N", help="of all that is random (default: 0)"
    )


def seconds(text: str) -> float:
    """Parse a positive, finite number of seconds."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number of seconds, got {text}")
    return value


def shape(text: str) -> tuple[int, ...]:
    """Parse positive ints with commas between them."""
    return tuple(count(side) for side in text.split(","))


def fraction(text: str) -> float:
    """Parse a share from 0 up to, not including, 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 1, got {text}")
    return value


def natural(text: str) -> int:
    """Parse an int from 0 to 2**32 - 1, what NumPy takes as a seed."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"must be from 0 to {2**32 - 1}, got {text}")
    return value


def count(text: str) -> int:
    """Parse an int of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def folds(text: str) -> int:
    """Parse an int of at least 2."""
    value = int(text)
    if value < 2:
        raise argparse.ArgumentTypeError(f"must be at least 2, got {text}")
    return value

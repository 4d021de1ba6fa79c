"""`autokit tff`: the environment of TensorFlow Federated."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def add_parser(add_command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command and what it can do.

    Parameters
    ----------
    add_command : callable
        ``(name, run, text, among=...) -> parser``, of `autokit.cli.parser`.
    """
    sub = add_command("tff", None, "install TensorFlow Federated for engine='tff', or check it")
    actions = sub.add_subparsers(dest="action", metavar="ACTION", required=True)
    install = add_command(
        "install", install_environment, "make an environment with its packages", actions
    )
    install.description = (
        "Make an environment with TensorFlow Federated 0.87, which takes 2.5 GB on disk, about 770 "
        "MB to download and 1 to 5 minutes. Needs Linux on x86-64 and a Python 3.11, which is "
        "fetched where uv is installed."
    )
    install.add_argument(
        "--python", metavar="PATH", help="a Python 3.11 (default: python3.11, pyenv's, or uv's)"
    )
    check = add_command(
        "check", check_environment, "run one round, and say what is wrong if that fails", actions
    )
    for action in (install, check):
        action.add_argument(
            "--where",
            metavar="DIR",
            help="folder of the environment (default: AUTOKIT_TFF_ENV, or one in the user's cache)",
        )


def install_environment(args: argparse.Namespace) -> None:
    """Make the environment of TensorFlow Federated."""
    from autokit.federated.engines.tff.environment import VARIABLE, folder, install

    python = install(args.where, python=args.python, say=lambda line: print(line, flush=True))
    if python.parent.parent != folder().absolute():
        print(f"name it for later: export {VARIABLE}={python.parent.parent}")


def check_environment(args: argparse.Namespace) -> None:
    """Say whether TensorFlow Federated works."""
    from autokit.cli.commands import print_pairs
    from autokit.federated.engines.tff import check

    print_pairs(check(args.where))
    print("TensorFlow Federated works")

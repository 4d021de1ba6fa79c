"""The `autokit` command.

Everything heavy is imported in the function that needs it, after the arguments and the output
folder have been checked: `autokit --help` and a wrong path answer at once.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from autokit.cli.parser import parse
from autokit.cli.stderr import without_native_noise

__all__ = ["main"]

_LONGEST_MESSAGE = 600


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments; by default those of the process.

    Returns
    -------
    int
        0; 1 after a failure, which is told in one line on stderr; 130 if interrupted. Wrong
        usage exits with 2.
    """
    args = parse(argv)
    # Read once, when TensorFlow and Keras load: so before any command imports them. The process
    # is ours, and so is its backend, whatever KERAS_BACKEND or keras.json say of other programs.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if args.debug:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
        args.run(args)
        return 0
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with without_native_noise(), warnings.catch_warnings():
        warnings.showwarning = _show_warning
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        try:
            args.run(args)
            sys.stdout.flush()
        except KeyboardInterrupt:
            _say("interrupted")
            return 130
        except BrokenPipeError:
            # The reader (`| head`) has gone; Python would complain again when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 1
        except Exception as error:
            _say(f"error: {_one_line(error)}")
            return 1
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"autokit: {text}\n")


def _one_line(error: BaseException | str) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror.lower()}"
    elif not text or isinstance(error, KeyError | AssertionError | AttributeError | TypeError):
        text = f"{type(error).__name__}: {text}".rstrip(": ")
    if len(text) > _LONGEST_MESSAGE:
        text = f"{text[:_LONGEST_MESSAGE]} ... (all of it with --debug)"
    return text


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    _say(f"warning: {_one_line(str(message))}")

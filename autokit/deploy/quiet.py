"""Keep the converter's and the runtime's own chatter off the user's terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator

_LOGGERS = ("tensorflow", "absl")

_lock = threading.Lock()
_depth = 0
_silence = contextlib.ExitStack()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow what C++ and Python libraries write to stderr inside the block.

    The converter reports by C++ log lines, MLIR diagnostics on file descriptor 2, Python
    loggers and warnings; what matters of it is in the exception it raises. Everything is put
    back at the end of the block, or of the last one if several threads are inside.
    """
    global _depth
    with _lock:
        if _depth == 0:
            _silence.enter_context(_ignored_warnings())
            _silence.enter_context(_muted_loggers())
            _silence.enter_context(_swallowed_stderr())
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _silence.close()


@contextlib.contextmanager
def _ignored_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _muted_loggers() -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def _swallowed_stderr() -> Iterator[None]:
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (AttributeError, OSError, ValueError):  # no stderr at all: a service, pythonw
        yield
        return
    # A file, not a pipe: nobody would empty the pipe.
    with tempfile.TemporaryFile() as sink:
        try:
            os.dup2(sink.fileno(), 2)
            yield
        finally:
            with contextlib.suppress(AttributeError, OSError, ValueError):
                sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)

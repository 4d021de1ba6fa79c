"""Whether Flower is installed, in a version whose processes are known here."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
import sys
import warnings

INSTALL = "pip install 'autokit[flower]'"
# Since 1.42 a SuperLink speaks HTTP on one port; before, gRPC on several.
MINIMUM = (1, 42)
# Parts of Flower that are not of its public interface, and that a later version may move.
PARTS = (
    "flwr.supercore.control",
    "flwr.supercore.runtime",
    "flwr.superlink.grid",
    "flwr.supernode.start_client_internal",
)


def require_flower() -> None:
    """Import Flower, or say how to install it.

    Raises
    ------
    ImportError
        It is not there, or too old, or so new that it is another one.
    """
    try:
        version = importlib.metadata.version("flwr")
    except importlib.metadata.PackageNotFoundError as error:
        raise ImportError(
            f"The engine 'flower' needs Flower, which is not installed: {INSTALL}"
        ) from error
    if tuple(map(int, version.split(".")[:2])) < MINIMUM:
        raise ImportError(
            f"The engine 'flower' needs Flower {'.'.join(map(str, MINIMUM))} or newer, and "
            f"{version} is installed: {INSTALL}"
        )
    is_new = "flwr" not in sys.modules
    with warnings.catch_warnings():
        # its typer asks Click for names that Click 9 will not have
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            for part in PARTS:
                importlib.import_module(part)
        except ImportError as error:
            raise ImportError(
                f"The engine 'flower' does not know Flower {version} ({error}): {INSTALL}"
            ) from error
    if is_new and "FLWR_LOG_LEVEL" not in os.environ:
        # Flower's is DEBUG, so that handlers of the root logger would have all that it says
        logging.getLogger("flwr").setLevel(logging.ERROR)

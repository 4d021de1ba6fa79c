"""A node of a federation on several machines."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from autokit.federated.engines.flower.installed import require_flower
from autokit.federated.engines.flower.membership import read_secret

PATIENCE_S = 300.0


def join(
    superlink: str,
    data: Mapping[str, str | os.PathLike] | Sequence[str | os.PathLike],
    root_certificate: str | os.PathLike | None = None,
    *,
    secret: str | os.PathLike | None = None,
    insecure: bool = False,
    name: str = "",
    patience_s: float = PATIENCE_S,
) -> str:
    """Train on this machine's rows for a server that `serve` runs; until it ends the training.

    What leaves the machine are updates of the network, sizes and names of the clients, and losses;
    never rows. What comes are numbers and a network's configuration, never code. Call it in the
    main thread of a process of its own. Of a client that cannot take part it warns, by a
    `FederatedWarning`, and goes on with the others.

    Parameters
    ----------
    superlink : str
        The server's ``host:port``.
    data : mapping of name to path, or sequence of paths
        An ``.npz`` file with `X` and `y`, as the server's example has them, for each client here;
        the clients of a sequence have their files' stems as names.
    root_certificate : path, default=None
        The server's ``root.pem``, of `make_certificates`.
    secret : path, default=None
        The server's ``join.secret``, of `make_certificates`, if it asks for one.
    insecure : bool, default=False
        Go without TLS: whoever is on the way can read and change all that is sent.
    name : str, default=""
        Put before the clients' names, with a slash: names must differ in a federation.
    patience_s : float, default=300.0
        How long to try to reach a server that does not answer, at the start or later.

    Returns
    -------
    str
        What the server said at the end.

    Raises
    ------
    ValueError
        No address; no certificate, and not `insecure`; two clients of one name; or a secret of a
        few letters.
    FileNotFoundError
        A file is not there.
    ConnectionError
        The server cannot be reached, or sends this node away; the message says why.
    KeyboardInterrupt
        A signal asked the process to end; the server was told that this node leaves.
    """
    parse_address(superlink)
    check_security(
        root_certificate, insecure, "the server's root certificate (root.pem; --root-certificate)"
    )
    files = _files(data, name)
    known = b"" if secret is None else read_secret(secret)
    root = None if insecure else Path(root_certificate).read_bytes()
    # read when Flower is loaded: nothing is to be sent to its makers
    os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    require_flower()
    with tempfile.TemporaryDirectory(prefix="autokit-flower-") as home:
        os.environ["FLWR_HOME"] = home
        from autokit.federated.engines.flower.node import Node, run_node

        node = Node(files, secret=known)
        with _heard() as errors:
            run_node(node, superlink, root, patience_s=patience_s)
    if node.is_done:
        return node.ended
    if node.ended:
        raise ConnectionError(f"{superlink} sent this node away: {node.ended}.")
    if node.is_set_up:
        raise ConnectionError(f"{superlink} was lost before the training ended.")
    secure = "with this root certificate" if root else "without TLS"
    raise ConnectionError(
        f"{superlink} could not be reached {secure}{_reason(errors)}; look whether `autokit "
        "federated serve` runs there, and with TLS or without as you said here."
    )


def parse_address(address: str) -> tuple[str, int]:
    """Host and port.

    Raises
    ------
    ValueError
    """
    host, colon, port = address.rpartition(":")
    host = host.strip("[]")
    is_port = port.isascii() and port.isdigit() and int(port) <= 65535
    if not colon or not host or "/" in host or not is_port:
        raise ValueError(f"an address must be host:port, such as 127.0.0.1:9092; got {address!r}.")
    return host, int(port)


def check_security(certificate, insecure: bool, what: str) -> None:
    """Refuse to go without TLS unless that was said.

    Raises
    ------
    ValueError, FileNotFoundError
    """
    if insecure and certificate is not None:
        raise ValueError(
            "a certificate and insecure (--insecure) exclude each other; leave one out."
        )
    if not insecure and certificate is None:
        raise ValueError(
            f"TLS needs {what}, such as `autokit federated certificate` makes; to go without, so "
            "that whoever is on the way can read and change what is sent, say insecure=True "
            "(--insecure)."
        )
    if certificate is not None and isinstance(certificate, str | os.PathLike):
        if not Path(certificate).is_file():
            raise FileNotFoundError(f"there is no file {certificate}; check the path.")


def _files(data, name: str) -> dict[str, Path]:
    if isinstance(data, Mapping):
        files = {str(client): Path(path) for client, path in data.items()}
    else:
        paths = [Path(path) for path in data]
        files = {path.stem: path for path in paths}
        if len(files) < len(paths):
            raise ValueError(
                "two files have the same name, and clients are called by them; rename one (in "
                "Python, a mapping of names to paths does too)."
            )
    if not files:
        raise ValueError("data is empty; give the file of at least one client.")
    for path in files.values():
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}; check the path.")
    return {f"{name}/{client}" if name else client: path for client, path in files.items()}


@contextlib.contextmanager
def _heard() -> Iterator[list[str]]:
    """Errors that Flower logs: kept from its log, for the one message that this ends with."""
    errors: list[str] = []

    def hear(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            errors.append(record.getMessage())
        return "FLWR_LOG_LEVEL" in os.environ

    logger = logging.getLogger("flwr")
    logger.addFilter(hear)
    try:
        yield errors
    finally:
        logger.removeFilter(hear)


def _reason(errors: list[str]) -> str:
    """Of what Flower says, the line that tells why it has no connection."""
    for error in errors:
        _, found, why = error.partition("Failed to initialize the connection to the SuperLink.\n")
        if found:
            return f" ({why.splitlines()[0]})"
    return ""

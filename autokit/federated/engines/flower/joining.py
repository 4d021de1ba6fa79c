"""A node of a federation on several machines."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
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
    main thread of a process of its own.

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
        No certificate, and not `insecure`; two clients of one name; or a secret of a few letters.
    FileNotFoundError
        A file is not there.
    ConnectionError
        The server cannot be reached, or sends this node away; the message says why.
    KeyboardInterrupt
        A signal asked the process to end; the server was told that this node leaves.
    """
    check_security(root_certificate, insecure, "the server's root certificate")
    files = _files(data, name)
    known = b"" if secret is None else read_secret(secret)
    root = None if insecure else Path(root_certificate).read_bytes()
    # read when Flower is loaded; nothing is to be sent to its makers, or said of every message
    os.environ |= {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_LOG_LEVEL": os.environ.get("FLWR_LOG_LEVEL", "ERROR"),
    }
    require_flower()
    with tempfile.TemporaryDirectory(prefix="autokit-flower-") as home:
        os.environ["FLWR_HOME"] = home
        from autokit.federated.engines.flower.node import Node, run_node

        node = Node(files, secret=known)
        run_node(node, superlink, root, patience_s=patience_s)
    if node.is_done:
        return node.ended
    if node.ended:
        raise ConnectionError(f"{superlink} sent this node away: {node.ended}.")
    if node.is_set_up:
        raise ConnectionError(f"{superlink} was lost before the training ended.")
    secure = "with this root certificate" if root else "without TLS"
    raise ConnectionError(
        f"{superlink} could not be reached {secure}; look whether `autokit federated serve` runs "
        "there, and with TLS or without as you said here."
    )


def check_security(certificate, insecure: bool, what: str) -> None:
    """Refuse to go without TLS unless that was said.

    Raises
    ------
    ValueError, FileNotFoundError
    """
    if insecure and certificate is not None:
        raise ValueError("certificates and insecure exclude each other; pass one of them.")
    if not insecure and certificate is None:
        raise ValueError(
            f"TLS needs {what} (`autokit federated certificate` makes one); say insecure to go "
            "without, so that whoever is on the way can read and change what is sent."
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
                "two files have the same name, and clients are called by them; rename one, or "
                "pass a mapping of names to paths."
            )
    if not files:
        raise ValueError("data is empty; give the file of at least one client.")
    for path in files.values():
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}; check the path.")
    return {f"{name}/{client}" if name else client: path for client, path in files.items()}

"""The server of a federation on several machines."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from autokit.federated.engines.flower.certificates import Credentials
from autokit.federated.engines.flower.engine import check_transport, task_of
from autokit.federated.engines.flower.installed import require_flower
from autokit.federated.engines.flower.joining import check_security, parse_address
from autokit.federated.engines.flower.membership import read_secret
from autokit.federated.engines.flower.processes import check_free, children, free_port
from autokit.federated.protocols import FederatedWarning, Federation, ServerState

if TYPE_CHECKING:
    from autokit.federated.engines.flower.fleet import Fleet, Member
    from autokit.federated.engines.flower.rounds import FlowerRun

TIMEOUT_S = 600.0
_LOOK_S = 0.1
_ENCODES = ("encoder_", "target_", "n_features_in_", "feature_names_in_", "classes_", "model_")


def begin(estimator: Any, X, y, classes=None) -> Any:
    """Give an unfitted federated estimator its columns, classes and network, without training.

    Parameters
    ----------
    estimator : FederatedTrainer or FederatedRegressor
    X, y : arrays
        Rows of the server, such as clients have: for columns, scaling and classes.
    classes : array, default=None
        All classes, if `y` does not have them.

    Returns
    -------
    estimator
    """
    estimator._validate_params()
    estimator._forget()
    arguments = () if classes is None else (classes,)
    estimator._encode_new(X, y, None, *arguments)
    estimator._begin()
    return estimator


def serve(
    estimator: Any,
    address: str,
    credentials: Credentials | None = None,
    *,
    insecure: bool = False,
    min_nodes: int = 2,
    timeout_s: float = TIMEOUT_S,
    start_timeout_s: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Any:
    """Train an estimator on the rows of nodes that `join`, on this or other machines.

    It starts Flower's SuperLink, waits for nodes, and runs `n_rounds` rounds. Clients are those of
    the nodes that were there when the first round began; a node that went and comes back goes on.
    What clients keep from round to round (SCAFFOLD's variates, what packing lost) stays with them.

    With `privacy` for clients the server clips the updates and adds the noise, and no node can
    tell it; for rows (``level="example"``) each node adds its own, as much as the server asks for,
    of its own entropy unless the estimator has a `random_state`: then the server could repeat it.

    Nodes must know the secret of the credentials before they are told anything. Without one
    whoever reaches the port may join. Either way keep strangers from the port, by a firewall or a
    private network: Flower lets whoever reaches it end a run.

    Parameters
    ----------
    estimator : FederatedTrainer or FederatedRegressor
        Fitted, to go on from; or made ready by `begin`. It is changed.
    address : str
        ``host:port`` to listen on, such as ``0.0.0.0:9092``; port 0 takes a free one.
    credentials : Credentials, default=None
        For TLS, and the nodes' secret; `make_certificates` makes some.
    insecure : bool, default=False
        Go without TLS: whoever is on the way can read and change all that is sent.
    min_nodes : int, default=2
        Wait for so many, however many clients each has.
    timeout_s : float, default=600.0
        How long a node may take for a round, until its clients are dropped from it.
    start_timeout_s : float, default=None
        How long to wait for nodes; None is for ever.
    say : callable, default=nothing
        Is told what happens, a line at a time.

    Returns
    -------
    estimator

    Raises
    ------
    ImportError
        Flower is not installed.
    ValueError
        No credentials, and not `insecure`; or a parameter that cannot be served, by name.
    OSError
        The address cannot be listened on.
    TimeoutError
        Too few nodes came.
    NoNodeLeft
        All nodes have gone. The rounds before are in the estimator.
    """
    require_flower()
    check_security(credentials, insecure, "credentials")
    host, port = parse_address(address)
    if not hasattr(estimator, "_state"):
        raise ValueError(
            f"{type(estimator).__name__} is not fitted and has no network yet; call `begin` with "
            "rows such as clients have."
        )
    empty = estimator._federation(_Remote({}))
    _check(empty)
    secret = None
    if credentials is not None:
        credentials.check()
        secret = None if credentials.secret is None else read_secret(credentials.secret)
    check_free(host, port)
    from autokit.federated.engines.flower.fleet import Fleet
    from autokit.federated.engines.flower.link import Link

    with children() as started:
        link = Link(started, host, port or free_port(host), credentials)
        with link.run():
            begun: set[str] = set()  # clients that the first round began with
            fleet = Fleet(
                link,
                task_of(empty, encoder=_encoder_of(estimator)),
                timeout_s,
                lambda member: _objection(member, fleet, begun),
                secret=secret,
            )
            why, is_done = "the server ended before the training did", False
            try:
                say(f"listening on {link.listens}, waiting for {min_nodes} nodes")
                _wait(fleet, min_nodes, start_timeout_s, say)
                begun.update(*(member.sizes for member in fleet.members.values()))
                _train(estimator, fleet)
                why, is_done = "the training is over", True
            finally:
                with suppress(ConnectionError):  # of a SuperLink that has ended itself
                    fleet.dismiss_all(why, is_done=is_done)
    return estimator


class _Remote:
    """Clients whose rows never come here."""

    def __init__(self, sizes: dict[str, int]):
        self.names = sorted(sizes)
        self.sizes = np.array([sizes[name] for name in self.names], int)

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, client: int):
        raise OSError("they are on another machine")


class _Opened:
    """An engine over nodes that are there."""

    def __init__(self, fleet: Fleet):
        self._fleet = fleet

    def check(self, federation: Federation) -> None:
        _check(federation)

    @contextmanager
    def open(self, federation: Federation, state: ServerState) -> Iterator[FlowerRun]:
        from autokit.federated.engines.flower.rounds import FlowerRun

        names = federation.clients.names
        homes = {name: node for node, m in self._fleet.members.items() for name in m.sizes}
        places = {client: homes[name] for client, name in enumerate(names)}
        yield FlowerRun(federation, state, self._fleet, places, {}, names, carries=False)


def _train(estimator: Any, fleet: Fleet) -> None:
    clients = _Remote({k: n for m in fleet.members.values() for k, n in m.sizes.items()})
    given = estimator.engine
    estimator.engine = _Opened(fleet)
    try:
        estimator._go_on(clients, int(estimator.n_rounds), None)
    finally:
        estimator.engine = given


def _wait(fleet: Fleet, min_nodes: int, timeout_s: float | None, say) -> None:
    until = None if timeout_s is None else time.monotonic() + timeout_s
    met: set[int] = set()
    while True:
        fleet.meet()
        for node in fleet.members.keys() - met:
            met.add(node)
            member = fleet.members[node]
            say(f"a node joined with the clients {', '.join(sorted(member.sizes))}")
            for name, why in member.failed.items():
                warnings.warn(
                    f"Client {name!r} cannot take part: {why}", FederatedWarning, stacklevel=4
                )
        here = sum(not member.gone for member in fleet.members.values())
        if here >= min_nodes:
            return
        if until is not None and time.monotonic() > until:
            raise TimeoutError(
                f"{here} of {min_nodes} nodes joined within {timeout_s:g} s; start more, lower "
                "min_nodes (--min-nodes), or raise start_timeout_s (--wait)."
            )
        time.sleep(_LOOK_S)


def _objection(member: Member, fleet: Fleet, begun: Set[str] = frozenset()) -> str:
    """Why a node cannot take part; one that was silent makes way for its clients' new node."""
    if not member.sizes:
        why = "; ".join(f"{name!r}: {reason}" for name, reason in member.failed.items())
        return f"none of its clients can take part ({why})"
    if begun and begun.isdisjoint(member.sizes):
        return "the training has begun without its clients; join before the first round"
    for other in fleet.members.values():
        double = sorted(other.sizes.keys() & member.sizes.keys())
        if not double or other.gone:
            continue
        if not other.busy:
            return (
                f"another node has a client called {double[0]!r}; tell them apart by a name "
                "(--name), or try again in a minute if that node has just ended"
            )
        other.gone = "its clients came back with another node"
    return ""


def _check(federation: Federation) -> None:
    check_transport(federation)
    if federation.batch_norm != "average":
        raise ValueError(
            "The 'batch_norm' parameter must be 'average' on several machines: with 'local' the "
            "server's model would have no batch normalisation of its own."
        )


def _encoder_of(estimator: Any) -> Any:
    """What a node encodes its rows with: nothing that the server knows of other clients."""
    encoder = type(estimator)()
    for name in _ENCODES:
        if hasattr(estimator, name):
            setattr(encoder, name, getattr(estimator, name))
    return encoder

"""The engine `flower`: rounds on a SuperLink and SuperNodes of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from autokit.federated.engines.flower.installed import require_flower
from autokit.federated.protocols import Federation, ServerState

if TYPE_CHECKING:
    from autokit.federated.engines.flower.rounds import FlowerRun

_TASK = (
    "model", "loss", "algorithm", "communication", "learning_rate", "local_epochs", "batch_size",
    "batch_norm",
)  # fmt: skip


class FlowerEngine(BaseEstimator):
    """Rounds on Flower: a SuperLink and SuperNodes, as processes on this machine.

    The clients are spread over the nodes, whose processes read their rows from files of a private
    temporary folder, and train. What servers and clients send each other goes through Flower, the
    updates packed as `communication` says. The result is that of the embedded engine. All
    processes and files are gone when `fit` returns, or its process ends.

    Several machines: ``autokit federated serve`` and ``autokit federated join``, or `serve` and
    `join` of this package.

    Parameters
    ----------
    n_nodes : int, default=2
        SuperNodes; at most one for each client is started.
    timeout_s : float, default=600.0
        How long a node may take for a round. Clients of a node that takes longer are dropped from
        the round, as are those of a node that ended.
    start_timeout_s : float, default=180.0
        How long nodes may take until they are ready.
    insecure : bool, default=False
        Leave out TLS between the processes. By default a certificate is made for each training.

    Raises
    ------
    ImportError
        Flower is not installed; the message says how to.
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_nodes": [Interval(Integral, 1, None, closed="left")],
        "timeout_s": [Interval(Real, 0, None, closed="neither")],
        "start_timeout_s": [Interval(Real, 0, None, closed="neither")],
        "insecure": ["boolean"],
    }

    def __init__(self, n_nodes=2, timeout_s=600.0, start_timeout_s=180.0, insecure=False):
        self.n_nodes = n_nodes
        self.timeout_s = timeout_s
        self.start_timeout_s = start_timeout_s
        self.insecure = insecure

    def check(self, federation: Federation) -> None:
        """Refuse what this engine cannot do."""
        self._validate_params()
        require_flower()
        check_transport(federation)

    @contextmanager
    def running(self) -> Iterator[FlowerEngine]:
        """Start the processes once, for all trainings inside; a `fit` alone starts its own.

        Copies by `sklearn.base.clone` train on them too, so that a cross-validation inside starts
        no others; trainings of several threads wait for each other. Copies that go to another
        process start their own.

        Examples
        --------
        ::

            with FlowerEngine(n_nodes=4).running() as engine:
                trainer = FederatedTrainer(engine=engine)
                for X, y, owner in days:
                    trainer.partial_fit(X, y, client_ids=owner, classes=range(10))
        """
        self._validate_params()
        require_flower()
        from autokit.federated.engines.flower.cluster import cluster

        with cluster(self.n_nodes, self.insecure) as self._cluster:
            try:
                yield self
            finally:
                del self._cluster

    def __sklearn_clone__(self) -> FlowerEngine:
        copy = super().__sklearn_clone__()
        if hasattr(self, "_cluster"):
            copy._cluster = self._cluster
        return copy

    @contextmanager
    def open(self, federation: Federation, state: ServerState) -> Iterator[FlowerRun]:
        """Begin, or go on from a state."""
        from autokit.federated.engines.flower.cluster import cluster
        from autokit.federated.engines.flower.fleet import Fleet
        from autokit.federated.engines.flower.rounds import FlowerRun

        with ExitStack() as stack:
            nodes = getattr(self, "_cluster", None)
            if nodes is not None and nodes.is_running:
                stack.enter_context(nodes.turn())
            else:
                n_nodes = min(self.n_nodes, len(federation.clients))
                nodes = stack.enter_context(cluster(n_nodes, self.insecure))
            homes = spread(federation.clients.sizes, len(nodes.labels))
            rows, unread = nodes.write_rows(federation, homes)
            fleet = Fleet(
                nodes.link,
                task_of(federation, rows=rows),
                self.timeout_s,
                lambda member: "" if member.label in nodes.labels else "it is not of this training",
                lambda member: nodes.ended(member.label),
                dismisses=False,
            )
            stack.callback(nodes.drop_rows, rows)
            nodes.gather(fleet, self.start_timeout_s)
            known = {member.label: node for node, member in fleet.members.items()}
            places = {client: known[nodes.labels[home]] for client, home in enumerate(homes)}
            run = FlowerRun(federation, state, fleet, places, unread)
            run.processes = nodes.processes
            yield run

    def __getstate__(self):
        state = super().__getstate__().copy()
        state.pop("_cluster", None)
        return state


def check_transport(federation: Federation) -> None:
    """Refuse what cannot be sent to nodes.

    Raises
    ------
    ValueError
        Names the argument, and the engine that can.
    """
    from autokit.federated.engines.flower.wire import pack_objects

    for name in ("model", "loss", "algorithm", "communication"):
        try:
            pack_objects({name: getattr(federation, name)})
        except TypeError as error:
            raise ValueError(
                f"The {name!r} cannot be sent to Flower's nodes, which know the classes of Keras "
                f"and autokit: {_unknown(error)}. Use one of those, or engine='embedded', which "
                "takes it as it is."
            ) from error


def _unknown(error: TypeError) -> str:
    """What cannot be sent; what `autokit.save` advises besides is of no use here."""
    return str(error).partition(", which autokit.save cannot store")[0].rstrip(".")


def task_of(federation: Federation, **more: Any):
    """What a node is told before the first round."""
    from autokit.federated.engines.flower.wire import pack_objects

    task = {name: getattr(federation, name) for name in _TASK} | {"seed": federation.local_seed}
    private = federation.privacy
    if private is not None and not private.hides_clients:
        task["privacy"] = private
        if private.secret:
            task["seed"] = None  # a node's own: its noise hides its rows from the server too
    return pack_objects(task | more)


def spread(sizes: np.ndarray, n_nodes: int) -> list[int]:
    """The node of each client: about as many rows on each."""
    loads = np.zeros(n_nodes)
    homes = [0] * len(sizes)
    for client in np.argsort(-np.asarray(sizes), kind="stable"):
        home = int(np.argmin(loads))
        homes[client] = home
        loads[home] += sizes[client]
    return homes

"""A SuperLink and its nodes on this machine, for one training or several."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator

import numpy as np

from autokit.federated.engines.flower.certificates import Credentials, make_certificates
from autokit.federated.engines.flower.fleet import Fleet
from autokit.federated.engines.flower.link import Link
from autokit.federated.engines.flower.processes import Children, children, free_port
from autokit.federated.protocols import UNREADABLE, Federation


class Cluster:
    """Processes of this machine, and the folders of their rows.

    Parameters
    ----------
    started : Children
    link : Link
    credentials : Credentials or None
    n_nodes : int

    Attributes
    ----------
    labels : list of str
        By which nodes make themselves known: nobody else on this machine has them.
    """

    def __init__(
        self, started: Children, link: Link, credentials: Credentials | None, n_nodes: int
    ):
        self._started, self.link, self._credentials = started, link, credentials
        self.labels = [secrets.token_hex(16) for _ in range(n_nodes)]
        self._n_trainings = 0
        self._owner, self._turn, self._trainer = os.getpid(), threading.Lock(), None
        self._is_over = False
        for home in range(n_nodes):
            self._start(home)

    @property
    def processes(self) -> list[int]:
        """Numbers of the nodes' processes."""
        return [self._started.pid(_name(home)) for home in range(len(self.labels))]

    @property
    def is_running(self) -> bool:
        """Whether its processes are there, and this process's."""
        return not self._is_over and self._owner == os.getpid()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn: nodes hold one training at a time.

        Raises
        ------
        RuntimeError
            This thread has it already, and would wait for itself.
        """
        if self._trainer == threading.get_ident():
            raise RuntimeError(
                "The running Flower nodes are in the middle of another training of this thread; "
                "begin this one after it, or on a FlowerEngine of its own."
            )
        with self._turn:
            self._trainer = threading.get_ident()
            try:
                yield
            finally:
                self._trainer = None

    def close(self) -> None:
        """Take no more trainings."""
        self._is_over = True

    def ended(self, label: str) -> str:
        """Why a node has ended; empty while it runs."""
        return self._started.ended(_name(self.labels.index(label))) or ""

    def write_rows(self, federation: Federation, homes: list[int]) -> tuple[str, dict[int, str]]:
        """Give each node the encoded rows of its clients, as files.

        Returns
        -------
        rows : str
            The folder's name at each node.
        unread : dict of int to str
            Why rows of some clients cannot be read.
        """
        rows, unread = str(self._n_trainings), {}
        self._n_trainings += 1
        for home in range(len(self.labels)):
            (self._folder(home) / rows).mkdir(parents=True)
        for client, home in enumerate(homes):
            try:
                data = federation.clients.batch(client)
            except (OSError, ValueError) as error:
                unread[client] = f"{UNREADABLE}: {error}"
                continue
            arrays = {"x": data.x, "y": data.y}
            if data.weight is not None:
                arrays["weight"] = data.weight
            np.savez(self._folder(home) / rows / f"{client}.npz", **arrays)
        return rows, unread

    def drop_rows(self, rows: str) -> None:
        """Remove the files of a training."""
        for home in range(len(self.labels)):
            shutil.rmtree(self._folder(home) / rows, ignore_errors=True)

    def gather(self, fleet: Fleet, timeout_s: float) -> None:
        """Wait until all nodes are ready for a training.

        Raises
        ------
        ConnectionError
            One ended; with what it said.
        TimeoutError
        """
        if self._n_trainings > 1:
            for home, label in enumerate(self.labels):
                if self.ended(label):
                    self._start(home)
        until = time.monotonic() + timeout_s
        while len(fleet.members) < len(self.labels):
            fleet.meet()
            for why in fleet.refused.values():
                if "could not begin" in why:
                    raise ConnectionError(
                        f"A Flower node cannot take part: {why}. It knows the classes of Keras and "
                        "autokit; a network of others needs engine='embedded'."
                    )
            for home, label in enumerate(self.labels):
                ended = self.ended(label)
                if ended:
                    raise ConnectionError(
                        f"A Flower node ended before the first round ({ended}). It said:\n"
                        f"{self._started.said(_name(home))}"
                    )
            if time.monotonic() > until:
                raise TimeoutError(
                    f"{len(fleet.members)} of {len(self.labels)} Flower nodes were ready within "
                    f"{timeout_s:g} s; start fewer with FlowerEngine(n_nodes=...), or raise "
                    "'start_timeout_s'."
                )
            time.sleep(0.02)

    def _start(self, home: int) -> None:
        self._folder(home).mkdir(exist_ok=True)
        arguments = ["--superlink", self.link.address, "--label", self.labels[home]]
        arguments += ["--folder", str(self._folder(home))]
        if self._credentials is not None:
            arguments += ["--root", str(self._credentials.root)]
        # nodes share this machine's cores, and its accelerator if it has one
        threads = str(max(1, (os.cpu_count() or 1) // len(self.labels)))
        self._started.start(
            _name(home),
            "node",
            arguments,
            TF_CPP_MIN_LOG_LEVEL="2",
            TF_FORCE_GPU_ALLOW_GROWTH="true",
            TF_NUM_INTRAOP_THREADS=threads,
            TF_NUM_INTEROP_THREADS=threads,
            OMP_NUM_THREADS=threads,
        )

    def _folder(self, home: int):
        return self._started.folder / _name(home)


@contextlib.contextmanager
def cluster(n_nodes: int, insecure: bool) -> Iterator[Cluster]:
    """Start a SuperLink and nodes; all is gone afterwards."""
    with children() as started:
        credentials = None if insecure else make_certificates([], started.folder / "tls")
        link = Link(started, "127.0.0.1", free_port(), credentials)
        nodes = Cluster(started, link, credentials, n_nodes)
        with link.run():
            try:
                yield nodes
            finally:
                nodes.close()


def _name(home: int) -> str:
    return f"node-{home}"

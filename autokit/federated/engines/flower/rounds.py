"""Rounds of one federation on the nodes of a fleet."""

from __future__ import annotations

import zipfile

import numpy as np
from flwr.app import RecordDict

from autokit.federated.client import wire
from autokit.federated.engines.flower.fleet import Fleet, NoNodeLeft
from autokit.federated.engines.flower.wire import Answer, Job, pack_broadcast
from autokit.federated.protocols import Broadcast, Federation, RoundReport, ServerState
from autokit.federated.server import Round, broadcast_of

PIECE_BYTES = 1 << 26  # of updates in one answer
# What an answer that is none of ours raises; a node may be anybody.
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, OSError, EOFError,
               zipfile.BadZipFile)  # fmt: skip


class FlowerRun:
    """Rounds of one federation on the nodes of a fleet.

    Parameters
    ----------
    federation : Federation
    state : ServerState
    fleet : Fleet
        Its nodes are ready.
    places : dict of int to int
        The node of each client.
    unread : dict of int to str
        Clients whose rows could not be read, and why.
    local_names : list of str, default=None
        What nodes call the clients; None is their numbers.
    carries : bool, default=True
        Whether what clients keep from round to round is kept here, in the state, and sent to them;
        otherwise their nodes keep it.

    Attributes
    ----------
    processes : list of int
        Numbers of the nodes' processes, where they are of this machine.
    """

    def __init__(
        self,
        federation: Federation,
        state: ServerState,
        fleet: Fleet,
        places: dict[int, int],
        unread: dict[int, str],
        local_names: list[str] | None = None,
        carries: bool = True,
    ):
        self.federation, self.state, self.fleet = federation, state, fleet
        self.places, self.unread = places, unread
        self.processes: list[int] = []
        self._local_names, self._carries = local_names, carries
        self._took: dict[int, int] = {}

    def round(self, chosen: np.ndarray) -> RoundReport:
        """Run one round with the clients of these numbers.

        Raises
        ------
        NoNodeLeft
            All nodes have gone.
        """
        federation, state = self.federation, self.state
        self.fleet.meet()
        self._find_again()
        self._check_left()
        broadcast = broadcast_of(federation, state)
        gathered = Round(federation, state, broadcast)
        for client in map(int, chosen):
            if client in self.unread:
                gathered.drop(client, self.unread[client])
        jobs = self._jobs(chosen, broadcast)
        sent = pack_broadcast(broadcast)
        contents = {key: job.content(sent) for key, job in jobs.items()}
        answers: dict = {}
        left = list(jobs)
        for key, reply in self.fleet.ask(contents, str(state.round + 1)):
            answers[key] = reply
            # in one order, whoever is first, so that sums are the same every time
            while left and left[0] in answers:
                key = left.pop(0)
                answer = self._read(answers.pop(key), jobs[key])
                for client, why in answer.failed.items():
                    gathered.drop(client, why)
                if answer.updates is not None:
                    kept = answer.kept if self._carries else [{} for _ in answer.kept]
                    gathered.add(answer.updates, kept)
        after, report = gathered.finish()
        if not report.clients:
            self._check_left()
        self.state = after
        self._took |= dict.fromkeys(report.clients, state.round)
        return report

    def _jobs(self, chosen: np.ndarray, broadcast: Broadcast) -> dict[tuple[int, int], Job]:
        """Work by node and part, no more clients in a part than answers that fit into memory."""
        federation = self.federation
        most = max(1, PIECE_BYTES // (4 * max(1, federation.layout.size)))
        by_node: dict[int, list[int]] = {}
        for client in map(int, chosen):
            if client not in self.unread:
                by_node.setdefault(self.places[client], []).append(client)
        jobs = {}
        for node, clients in by_node.items():
            for part, first in enumerate(range(0, len(clients), most)):
                numbers = clients[first : first + most]
                kept = None
                if self._carries:
                    names = federation.clients.names
                    kept = [self.state.kept.get(names[client], {}) for client in numbers]
                jobs[node, part] = Job(
                    numbers,
                    [self._called(client) for client in numbers],
                    broadcast,
                    kept,
                    [self._took.get(client, -1) for client in numbers],
                )
        return jobs

    def _read(self, reply: RecordDict | str, job: Job) -> Answer:
        """What a node answered, or why its clients gave nothing."""
        layout = self.federation.layout
        if not isinstance(reply, str):
            try:
                answer = Answer.read(reply, wire(self.federation), layout.size)
                answer.check(job.numbers, layout.size, job.broadcast.shared.size)
                return answer
            except _UNREADABLE as error:
                reply = f"its node's answer is of no use: {error}"
        return Answer(None, failed=dict.fromkeys(job.numbers, reply))

    def _check_left(self) -> None:
        gone = [member.gone for member in self.fleet.members.values()]
        if all(gone):
            raise NoNodeLeft(
                f"No Flower node is left after {self.state.round} rounds "
                f"({', '.join(sorted(set(gone)))}). The model has what the finished rounds gave, "
                "and partial_fit, or fit_clients with resume=True, goes on from there."
            )

    def _called(self, client: int) -> str:
        return str(client) if self._local_names is None else self._local_names[client]

    def _find_again(self) -> None:
        """Clients of a node that has gone may be with another: it was started anew."""
        if self._local_names is None:
            return
        for node, member in self.fleet.members.items():
            if member.gone:
                continue
            for client, name in enumerate(self._local_names):
                old = self.fleet.members[self.places[client]]
                if name in member.sizes and old.gone:
                    self.places[client] = node

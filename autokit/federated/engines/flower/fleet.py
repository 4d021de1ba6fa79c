"""The nodes of a run: who they are, what they are asked, and which of them have gone."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from flwr.app import ConfigRecord, RecordDict

from autokit.federated.engines.flower.link import Link
from autokit.federated.engines.flower.membership import challenge, is_proof
from autokit.federated.engines.flower.wire import HELLO, SETUP, STOP, TRAIN

LOOK_S = 1.0  # between looks at who is online
# A request costs the SuperLink some 3 ms of CPU.
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.1
_STOP_S = 5.0
_STRANGER = (
    "it does not know the secret of this training; give it the server's join.secret (--secret)"
)
_LATE = "the training was over before it could take part"
_log = logging.getLogger(__name__)


class NoNodeLeft(ConnectionError):
    """All nodes of a run have gone. What finished rounds gave is kept."""


@dataclass
class Member:
    """One node.

    Attributes
    ----------
    label : str
        What it says it is.
    sizes : dict of str to int
        Rows of its clients, by name.
    failed : dict of str to str
        Why it cannot read others.
    busy : set of str
        Messages that it has not answered in time.
    gone : str
        Why it will never answer; empty while it may.
    """

    label: str
    sizes: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    gone: str = ""


class Fleet:
    """The nodes of a run.

    Parameters
    ----------
    link : Link
        With its run open.
    task : RecordDict
        What each node is told first.
    timeout_s : float
        How long an answer may take.
    is_welcome : callable
        ``(node, member) -> str``: empty, or why a node is sent away.
    why_gone : callable
        ``(member) -> str``: why a node's process has ended; empty if it runs, or is not known.
    dismisses : bool, default=True
        Whether a node that cannot take part is told to leave.
    secret : bytes, default=None
        What a node must know before it is told anything; None trusts all.

    Attributes
    ----------
    members : dict of int to Member
        Nodes that take part, by Flower's numbers.
    refused : dict of int to str
        Others, and why they do not.
    """

    def __init__(
        self,
        link: Link,
        task: RecordDict,
        timeout_s: float,
        is_welcome: Callable[[Member], str],
        why_gone: Callable[[Member], str] = lambda member: "",
        dismisses: bool = True,
        secret: bytes | None = None,
    ):
        self.members: dict[int, Member] = {}
        self.refused: dict[int, str] = {}
        self._link, self._task, self.timeout_s = link, task, timeout_s
        self._is_welcome, self._why_gone = is_welcome, why_gone
        self._asked: dict[int, str] = {}  # nodes that have not yet told who they are
        self._dismisses, self._secret = dismisses, secret
        self._challenges: dict[int, bytes] = {}  # of nodes that have not yet shown who they are
        self._looked_at = -LOOK_S

    def look(self) -> None:
        """See who has come and who has gone."""
        now = time.monotonic()
        for member in self.members.values():
            member.gone = member.gone or self._why_gone(member)
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        online = self._link.nodes()
        for node, member in self.members.items():
            if node not in online:
                member.gone = member.gone or "it left, or was silent for too long"
        for node in online - self.members.keys() - self._asked.keys() - self.refused.keys():
            self._asked[node] = self._greet(node)

    def meet(self) -> None:
        """Take in the nodes that have answered who they are."""
        self.look()
        if not self._asked:
            return
        nodes = {message: node for node, message in self._asked.items()}
        for message, reply in self._link.replies(set(nodes)):
            node = nodes[message]
            del self._asked[node]
            if isinstance(reply, str):
                self._refuse(node, f"it could not begin: {reply}")
                continue
            if node in self._challenges:
                if self._is_trusted(node, reply):
                    self._asked[node] = self._send(node, SETUP, self._task)
                else:
                    self._refuse(node, _STRANGER)
                continue
            told = reply.config_records["node"]
            member = Member(
                str(told["label"]), json.loads(told["sizes"]), json.loads(told["failed"])
            )
            why = self._is_welcome(member)
            if why:
                self._refuse(node, why)
            else:
                self.members[node] = member

    def ask(
        self, contents: dict[tuple[int, int], RecordDict], group: str
    ) -> Iterator[tuple[tuple[int, int], RecordDict | str]]:
        """Give nodes work, and yield what becomes of it, as it comes.

        Parameters
        ----------
        contents : dict of (node, part) to RecordDict
        group : str
            What Flower calls the round.

        Yields
        ------
        key : tuple of (node, part)
        reply : RecordDict or str
            Or why there is none.
        """
        until = time.monotonic() + self.timeout_s
        waiting: dict[str, tuple[int, int]] = {}
        self._catch_up({node for node, _ in contents}, until)
        messages = {}
        for key, content in contents.items():
            member = self.members[key[0]]
            if member.gone or member.busy:
                yield key, self._silence(member) or "its node is busy with an earlier round"
            else:
                messages[key] = self._link.message(key[0], TRAIN, content, group)
        if messages:
            waiting = dict(zip(self._link.send([*messages.values()]), messages, strict=True))
        pause = SHORTEST_PAUSE_S
        while waiting:
            for message, reply in self._link.replies(set(waiting)):
                yield waiting.pop(message), reply
                pause = SHORTEST_PAUSE_S
            self.look()
            late = time.monotonic() > until
            for message, key in list(waiting.items()):
                why = self._silence(self.members[key[0]])
                if not why and late:
                    self.members[key[0]].busy.add(message)
                    why = f"its node gave no answer within {self.timeout_s:g} s"
                if why:
                    del waiting[message]
                    yield key, why
            if waiting:
                time.sleep(pause)
                pause = min(1.3 * pause, LONGEST_PAUSE_S)

    def dismiss_all(self, why: str, *, is_done: bool) -> None:
        """Tell all nodes that the training has ended, and give them a moment to leave."""
        nodes = [n for n, m in self.members.items() if not m.gone and not m.busy]
        told = {self._dismiss(node, why, is_done) for node in nodes}
        told |= {self._dismiss(node, _LATE if is_done else why) for node in self._asked}
        until = time.monotonic() + _STOP_S
        while told and time.monotonic() < until:
            told -= {message for message, _ in self._link.replies(told)}
            time.sleep(SHORTEST_PAUSE_S)

    def _catch_up(self, nodes: set[int], until: float) -> None:
        """Read late answers, which are of no use now; wait if nobody is free."""
        while True:
            members = [self.members[node] for node in nodes]
            late = set().union(*(member.busy for member in members)) if members else set()
            answered = {message for message, _ in self._link.replies(late)} if late else set()
            for member in members:
                member.busy -= answered
            self.look()
            open_ones = [member for member in members if not member.gone]
            if not open_ones or any(not member.busy for member in open_ones):
                return
            if time.monotonic() > until:
                return
            time.sleep(LONGEST_PAUSE_S)

    def _greet(self, node: int) -> str:
        if self._secret is None:
            return self._send(node, SETUP, self._task)
        self._challenges[node] = challenge()
        hello = ConfigRecord({"challenge": self._challenges[node]})
        return self._send(node, HELLO, RecordDict({"hello": hello}))

    def _is_trusted(self, node: int, reply: RecordDict) -> bool:
        told = reply.config_records.get("hello", {}).get("proof", b"")
        asked = self._challenges.pop(node)
        return isinstance(told, bytes) and is_proof(self._secret, asked, told)

    def _silence(self, member: Member) -> str:
        return f"its node has gone: {member.gone}" if member.gone else ""

    def _refuse(self, node: int, why: str) -> None:
        _log.warning("A Flower node does not take part: %s", why)
        self.refused[node] = why
        if self._dismisses:
            self._dismiss(node, why)

    def _dismiss(self, node: int, why: str, is_done: bool = False) -> str:
        end = ConfigRecord({"why": why, "is_done": is_done})
        return self._send(node, STOP, RecordDict({"end": end}))

    def _send(self, node: int, kind: str, content: RecordDict) -> str:
        (number,) = self._link.send([self._link.message(node, kind, content)])
        return number

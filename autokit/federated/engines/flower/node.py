"""A SuperNode that keeps its clients' rows, and TensorFlow, in one process.

It is Flower's own SuperNode, of `flwr.supernode`, which registers at the SuperLink, sends
heartbeats, and takes and gives messages. Only the app that answers a message does not run in a
process that Flower starts anew for each, which would load TensorFlow every round, but here. So
nothing that a server sends is ever run: its app is this file's, whatever bundle comes with a run.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from autokit.federated.engines.flower.installed import require_flower

require_flower()

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402
from flwr.common.constant import ErrorCode  # noqa: E402
from flwr.supercore.exit import exit as flwr_exit  # noqa: E402
from flwr.supercore.exit.signal_handler import SIGNAL_TO_EXIT_CODE  # noqa: E402
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree  # noqa: E402
from flwr.supercore.inflatable.inflatable_utils import (  # noqa: E402
    inflate_object_from_contents,
    pull_objects,
)
from flwr.supercore.object_store import ObjectStoreFactory  # noqa: E402
from flwr.supernode import start_client_internal as supernode  # noqa: E402
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState  # noqa: E402

from autokit.federated.client import trained  # noqa: E402
from autokit.federated.clients import opened  # noqa: E402
from autokit.federated.engines.collector import Collector, work_of  # noqa: E402
from autokit.federated.engines.flower.link import PATIENCE  # noqa: E402
from autokit.federated.engines.flower.membership import proof  # noqa: E402
from autokit.federated.engines.flower.wire import Answer, Job, unpack_objects  # noqa: E402
from autokit.federated.protocols import UNREADABLE, FederatedWarning, Federation  # noqa: E402
from autokit.federated.weights import WeightLayout  # noqa: E402
from autokit.training import Batch  # noqa: E402

CACHED_BYTES = 1 << 28  # of rows that are kept in memory from round to round
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.015, 0.5
_INTERRUPTED = 130  # the exit code
_NO_ROWS = (OSError, ValueError, TypeError)  # a file cannot be read, or not be encoded
_log = logging.getLogger(__name__)


class Node:
    """The clients of one node, and what they keep.

    Parameters
    ----------
    files : dict of str to Path
        An ``.npz`` file with `X` and `y` for each client, by its name.
    folder : Path, default=None
        Instead of files: where folders are that the server writes encoded rows into.
    label : str
        What the server knows this node by; empty if it need not.
    secret : bytes
        By which it shows that it may join; empty if nobody asks.
    """

    def __init__(
        self,
        files: dict[str, Path],
        folder: Path | None = None,
        label: str = "",
        secret: bytes = b"",
    ):
        self.files, self.label = files, label
        self._folder, self._secret = folder, secret
        self.ended = ""  # what the server said at the end
        self.is_done = False  # whether that was the end of the training
        self.is_set_up = False
        self._rows: dict[str, Batch] = {}
        self._kept: dict[str, dict] = {}
        self._waiting: dict[str, tuple[int, dict]] = {}  # kept, if that round's update is used
        self._told: set[str] = set()  # clients that cannot take part, which the owner knows

    def hello(self, content: RecordDict) -> RecordDict:
        """Show that the training's secret is known here."""
        asked = content.config_records["hello"]["challenge"]
        return RecordDict({"hello": ConfigRecord({"proof": proof(self._secret, asked)})})

    def setup(self, content: RecordDict) -> RecordDict:
        """Take the network and all settings; tell of the clients that are here."""
        parts = unpack_objects(content)
        self._encoder, rows = parts.pop("encoder", None), parts.pop("rows", "")
        if self._folder is not None:
            self.files = {path.stem: path for path in (self._folder / rows).glob("*.npz")}
        model = parts["model"]
        if parts["seed"] is None:
            parts["seed"] = int(np.random.SeedSequence().entropy)
        federation = Federation(
            clients=None, aggregator=None, layout=WeightLayout.of(model), **parts
        )
        self._collector, self.is_set_up = Collector(federation), True
        self._rows, self._kept, self._waiting = {}, {}, {}
        sizes, failed = {}, {}
        for name in self.files if self._encoder is not None else ():
            try:
                sizes[name] = len(self._batch(name))
            except _NO_ROWS as error:
                failed[name] = self._failure(name, error)
        return RecordDict({
            "node": ConfigRecord({
                "label": self.label,
                "size": federation.layout.size,
                "sizes": json.dumps(sizes),
                "failed": json.dumps(failed),
            })
        })  # fmt: skip

    def train(self, content: RecordDict) -> RecordDict:
        """Train some clients."""
        job = Job.read(content)
        work, kept, names, failed = [], [], [], {}
        for i, (number, name) in enumerate(zip(job.numbers, job.names, strict=True)):
            try:
                data = self._batch(name)
            except (*_NO_ROWS, KeyError) as error:
                failed[number] = f"{UNREADABLE}: {self._failure(name, error)}"
                continue
            work.append(work_of(self._collector.federation, job.broadcast.round, number, data))
            names.append(name)
            kept.append(self._before(name, job.took[i]) if job.kept is None else job.kept[i])
        if not work:
            return Answer(None, failed=failed).content()
        packed = [] if self._collector.federation.communication is not None else None
        updates, after = trained(self._collector, job.broadcast, work, kept, packed=packed)
        if job.kept is None:
            for name, own in zip(names, after, strict=True):
                self._waiting[name] = (job.broadcast.round, own)
            after = [{} for _ in after]
        return Answer(updates, after, packed or [], failed).content()

    def stop(self, content: RecordDict) -> RecordDict:
        """The training is over."""
        end = content.config_records["end"]
        self.ended, self.is_done = str(end["why"]), bool(end["is_done"])
        return RecordDict()

    def _before(self, name: str, took: int) -> dict:
        """What a client kept when its update was last used."""
        made, own = self._waiting.pop(name, (-1, {}))
        if made >= 0 and made == took:
            self._kept[name] = own
        return self._kept.get(name, {})

    def _failure(self, name: str, error: Exception) -> str:
        """Why a client cannot take part; whoever has its rows is warned of it here, once."""
        why = str(error).removeprefix(f"client {name!r}: ")
        if self._encoder is not None and name not in self._told:
            self._told.add(name)
            warnings.warn(
                f"Client {name!r} cannot take part: {why}", FederatedWarning, stacklevel=2
            )
        return why

    def _batch(self, name: str) -> Batch:
        if name in self._rows:
            return self._rows[name]
        if self._encoder is not None:
            with opened(name, self.files[name]) as file:
                X, y = file["X"], file["y"]
            data = self._encoder._encode_more(X, y, None)
        else:
            with np.load(self.files[name], allow_pickle=False) as file:
                data = Batch(file["x"], file["y"], file["weight"] if "weight" in file else None)
        if sum(rows.size_bytes for rows in self._rows.values()) + data.size_bytes <= CACHED_BYTES:
            self._rows[name] = data
        return data


def client_app(node: Node) -> ClientApp:
    """A Flower app over the clients of a node."""
    app = ClientApp()

    def answering(answer: Callable[[RecordDict], RecordDict]):
        def respond(message: Message, context: Context) -> Message:
            return Message(answer(message.content), reply_to=message)

        return respond

    app.train()(answering(node.train))
    app.query("hello")(answering(node.hello))
    app.query("setup")(answering(node.setup))
    app.query("stop")(answering(node.stop))
    return app


class _State(InMemoryNodeState):
    """A SuperNode's state that runs the app when the SuperNode waits for its answer."""

    def __init__(self, store, app: ClientApp, wake: Callable[[], None]):
        super().__init__(store)
        self._app, self._wake = app, wake

    def get_messages_legacy(self, *, run_ids=None, is_reply=None, limit=None):
        if is_reply:
            asked = super().get_messages_legacy(run_ids=run_ids, is_reply=False)
            for message in asked:
                self._wake()
                self._answer(message.metadata.message_id)
        return super().get_messages_legacy(run_ids=run_ids, is_reply=is_reply, limit=limit)

    def _answer(self, message_id: str) -> None:
        self.record_message_processing_start(message_id)
        store = self.object_store
        tree = store.get_object_tree(message_id)
        parts = {part.object_id: store.get(part.object_id) for part in iterate_object_tree(tree)}
        message = inflate_object_from_contents(message_id, parts)
        message.metadata.__dict__["_message_id"] = message_id
        store.delete(message_id)
        context = Context(
            run_id=message.metadata.run_id,
            node_id=self.get_node_id(),
            node_config={},
            state=RecordDict(),
            run_config={},
        )
        try:
            reply = self._app(message=message, context=context)
        except Exception as error:  # whatever it is, the server is told, and goes on
            why = f"{type(error).__name__}: {error}"
            shows = _log.isEnabledFor(logging.DEBUG)
            _log.error("a message of the server could not be answered (%s)", why, exc_info=shows)
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, why), reply_to=message)
        self.record_message_processing_end(message_id)
        supernode._insert_message(reply, self, store)


class _Factory:
    """What Flower's SuperNode asks for its state."""

    def __init__(self, app: ClientApp, wake: Callable[[], None]):
        self.objectstore_factory = ObjectStoreFactory()
        self._state = _State(self.objectstore_factory.store(), app, wake)

    def state(self) -> _State:
        return self._state


class _Pauses:
    """Stands for the module `time` in Flower's loop, which looks for messages every 3 seconds.

    Here it looks at once after a message, and less and less often while nothing comes; and it
    ends when the server has said so.
    """

    def __init__(self, node: Node):
        self._node, self._pause = node, SHORTEST_PAUSE_S

    def wake(self) -> None:
        self._pause = SHORTEST_PAUSE_S

    def sleep(self, seconds: float) -> None:
        if self._node.ended:
            raise SystemExit(0)
        time.sleep(min(seconds, self._pause))
        self._pause = min(self._pause * 1.5, LONGEST_PAUSE_S)


class _Exits:
    """Stands for the module `os` where Flower ends the whole process, 5 s after its SuperNode.

    After a signal it may, since retries to reach a server would go on. Who was told that there is
    no server goes on himself.
    """

    @staticmethod
    def _exit(code: int) -> None:
        if code == 0:  # of a signal
            os._exit(_INTERRUPTED)


def run_node(
    node: Node,
    superlink: str,
    root_certificate: bytes | None,
    *,
    patience_s: float | None = None,
) -> None:
    """Be a SuperNode until the server ends the training, or is lost; in the main thread.

    Parameters
    ----------
    node : Node
    superlink : str
        ``host:port``
    root_certificate : bytes or None
        In PEM; None is without TLS.
    patience_s : float, default=None
        How long to try to reach a SuperLink that does not answer; None is for ever.

    Raises
    ------
    KeyboardInterrupt
        A signal asked the process to end; the SuperLink knows that the node has left.
    """
    pauses = _Pauses(node)
    handlers = {number: signal.getsignal(number) for number in SIGNAL_TO_EXIT_CODE}
    supernode.time = pauses
    supernode.pull_objects = partial(pull_objects, **PATIENCE)
    flwr_exit.os = _Exits
    try:
        supernode.start_client_internal(
            state_factory=_Factory(client_app(node), pauses.wake),
            server_address=superlink,
            node_config={},
            root_certificates=root_certificate,
            insecure=root_certificate is None,
            max_wait_time=patience_s,
            isolation="process",
        )
    except SystemExit as end:
        if not end.code and not node.ended:
            raise KeyboardInterrupt from end  # Flower's own handlers of signals end like this
    finally:
        supernode.time, supernode.pull_objects = time, pull_objects
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def main(arguments: Sequence[str]) -> None:
    """A node on this machine, of `FlowerEngine`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--superlink", required=True)
    parser.add_argument("--root")
    parser.add_argument("--label", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args(arguments)
    root = Path(args.root).read_bytes() if args.root else None
    with suppress(KeyboardInterrupt):
        run_node(Node({}, args.folder, args.label), args.superlink, root)

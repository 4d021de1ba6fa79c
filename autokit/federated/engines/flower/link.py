"""The server's side of Flower: a SuperLink of ours, one run on it, and the nodes of that run.

Rounds are driven by the process that called `fit`. It starts a SuperLink as a process of its own,
and then does what ``flwr run`` and Flower's executor of ServerApps do, each by the API that they
use: it starts a run, takes that run's ServerApp task, and has a `Grid`. Flower would start the
ServerApp as a further process; then callbacks, the progress display and the state after a fault
would be there and not here.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from flwr.app import Message, RecordDict
from flwr.common.constant import SubStatus
from flwr.common.serde import fab_to_proto, run_from_proto
from flwr.proto.control_pb2 import StartRunRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    inflate_object_from_contents,
    pull_objects,
)
from flwr.supercore.interceptors import (
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.retry import RetryInvoker, exponential
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid

import autokit
from autokit.federated.engines.flower.certificates import Credentials, local_name
from autokit.federated.engines.flower.processes import Children, no_proxy

SUPERLINK = "superlink"
START_S = 60.0
HEARTBEAT_S = 10.0  # Flower gives a task up after 60
_RETRY_S = 10.0
# Of parts of a message that have not come yet: Flower's are 1 and 10 s.
PATIENCE = {"initial_backoff": 0.015, "backoff_cap": 0.5, "max_time": 300.0}
PATIENCE["max_tries_per_object"] = None
_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
_APP = """\
[project]
name = "autokit"
version = "{version}"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "autokit"

[tool.flwr.app.components]
serverapp = "autokit.federated.engines.flower.apps:server"
clientapp = "autokit.federated.engines.flower.apps:client"
"""
_identity = threading.Lock()  # of what belongs to the whole process


class Link:
    """A run on a SuperLink.

    Parameters
    ----------
    started : Children
        The SuperLink is started among them.
    host : str
        To listen on.
    port : int
    credentials : Credentials or None
        None is without TLS.

    Attributes
    ----------
    listens, address : str
        What it listens on, and what it is called by from here.
    grid : flwr.serverapp.Grid
        Of the run.
    """

    def __init__(self, started: Children, host: str, port: int, credentials: Credentials | None):
        self._started = started
        self._root = None if credentials is None else Path(credentials.root).read_bytes()
        name = host
        if credentials is not None:
            name = local_name(credentials.certificate)
        elif host in ("0.0.0.0", "::"):
            name = "127.0.0.1"
        self._name = name
        self.listens = f"{host}:{port}"
        self.address = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
        secret = secrets.token_bytes(32)
        secret_file = started.folder / "secret"
        secret_file.touch(mode=0o600)
        secret_file.write_bytes(secret)
        arguments = ["--host", host, "--port", str(port), "--isolation", "process"]
        arguments += ["--superexec-auth-secret-file", str(secret_file)]
        if credentials is None:
            arguments += ["--insecure"]
        else:
            arguments += ["--ssl-certfile", str(credentials.certificate)]
            arguments += ["--ssl-keyfile", str(credentials.key)]
            arguments += ["--ssl-ca-certfile", str(credentials.root)]
        started.start(SUPERLINK, "superlink", arguments)
        self._secret = secret

    def check(self) -> None:
        """Raise ConnectionError if the SuperLink has ended."""
        ended = self._started.ended(SUPERLINK)
        if ended is not None:
            raise ConnectionError(
                f"Flower's SuperLink ended ({ended}). It said:\n{self._started.said(SUPERLINK)}"
            )

    @contextlib.contextmanager
    def run(self) -> Iterator[Link]:
        """Start a run, and end it afterwards."""
        self._await()
        run_id = self._start_run()
        token = self._take_task()
        grid = HttpGrid(
            self.address,
            insecure=self._root is None,
            root_certificates=self._root,
            token=token,
        )
        # Flower's own would, without a word, interrupt the process that a token is refused to
        grid._retry_invoker = RetryInvoker(
            lambda: exponential(base_delay=0.1, max_delay=1.0),
            httpx.TransportError,
            max_tries=None,
            max_time=_RETRY_S,
            should_giveup=lambda error: self._started.ended(SUPERLINK) is not None,
        )
        with self._direct():
            client = grid._runtime_client
        given = client.PullTaskInput(PullTaskInputRequest())
        grid.set_run(run_from_proto(given.run))
        self.grid, self._run_id, self._task_id = grid, run_id, given.task_id
        self._client_of_run = client
        over = threading.Event()
        beating = threading.Thread(target=_beat, args=(client, over), daemon=True)
        beating.start()
        try:
            yield self
            done = PushTaskOutputRequest(sub_status=SubStatus.COMPLETED, details="")
        except BaseException as error:
            done = PushTaskOutputRequest(sub_status=SubStatus.FAILED, details=str(error)[:200])
            raise
        finally:
            over.set()
            beating.join()
            with contextlib.suppress(httpx.HTTPError):
                grid._retry_invoker.max_tries = 1
                client.PushTaskOutput(done)
            grid.close()

    def message(self, node: int, kind: str, content: RecordDict, group: str = "") -> Message:
        """A message to a node."""
        with _identity:  # Flower takes a message's run from the process
            TaskIdentity.run_id, TaskIdentity.task_id = self._run_id, self._task_id
            TaskIdentity.node_id = self.grid.node.node_id
            return Message(content, node, kind, group_id=group)

    def send(self, messages: list[Message]) -> list[str]:
        """Give messages to the SuperLink; their numbers."""
        # In a thread that is waited for: a Ctrl-C in between would leave nodes with half a message,
        # and they would wait for the rest.
        with self._reached(), ThreadPoolExecutor(1) as pool:
            return list(pool.submit(self.grid.push_messages, messages).result())

    def nodes(self) -> set[int]:
        """Who is online."""
        self.check()
        with self._reached():
            return set(self.grid.get_node_ids())

    def replies(self, numbers: set[str]) -> Iterator[tuple[str, RecordDict | str]]:
        """What has come in answer to messages: their numbers, and contents or what went wrong.

        A reply is seen before all its parts have come; then Flower's own `Grid.pull_messages`
        looks again after a second, and here it is done at once.
        """
        with self._reached():
            yield from self._replies(numbers)

    def _replies(self, numbers: set[str]) -> Iterator[tuple[str, RecordDict | str]]:
        client, node = self._client_of_run, self.grid.node
        pull = make_pull_object_fn_protobuf(client.PullObject, node, self._run_id)
        found = client.PullMessages(PullAppMessagesRequest(message_ids=numbers))
        for head, tree in zip(found.messages_list, found.message_object_trees, strict=True):
            number = head.metadata.message_id
            try:
                parts = pull_objects(
                    [part.object_id for part in iterate_object_tree(tree)], pull, **PATIENCE
                )
            except ObjectPullError as error:
                yield head.metadata.reply_to_message_id, f"its answer was cut off: {error}"
                continue
            client.ConfirmMessageReceived(
                ConfirmMessageReceivedRequest(
                    node=node, run_id=self._run_id, message_object_id=number
                )
            )
            reply = inflate_object_from_contents(number, parts)
            why = reply.error.reason if reply.has_error() else ""
            yield reply.metadata.reply_to_message_id, why or reply.content

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            self.check()
            raise ConnectionError(
                f"Flower's SuperLink at {self.address} cannot be reached any more: {error}"
            ) from error

    def _await(self) -> None:
        url = f"{'http' if self._root is None else 'https'}://{self.address}/health"
        with self._client(RuntimeHttpClient) as client:
            until = time.monotonic() + START_S
            while True:
                self.check()
                try:
                    client._client.get(url)
                    return
                except httpx.TransportError as error:
                    if time.monotonic() > until:
                        raise ConnectionError(
                            f"Flower's SuperLink did not answer at {self.address} within "
                            f"{START_S:.0f} s: {error}"
                        ) from error
                time.sleep(0.05)

    def _start_run(self) -> int:
        request = StartRunRequest(fab=fab_to_proto(Fab("", _bundle(), {})))
        request.federation = NOOP_FEDERATION_ID
        with self._client(ControlHttpClient) as client:
            return client.StartRun(request).run_id

    def _take_task(self) -> str:
        signer = SuperExecAuthHttpInterceptor(
            master_secret=self._secret, protected_methods={_ACQUIRE}
        )
        request = AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])
        with self._client(RuntimeHttpClient, signer) as client:
            until = time.monotonic() + START_S
            while time.monotonic() < until:
                answer = client.AcquireTask(request)
                if answer.token:
                    return answer.token
                time.sleep(0.05)
        raise ConnectionError(f"Flower's SuperLink at {self.address} gave its run to nobody.")

    def _client(self, kind, *interceptors):
        with self._direct():
            return kind.from_server_address(
                self.address,
                insecure=self._root is None,
                root_certificates=self._root,
                interceptors=[
                    RuntimeVersionHttpInterceptor(component_name="autokit"),
                    *interceptors,
                ],
            )

    @contextlib.contextmanager
    def _direct(self) -> Iterator[None]:
        """Clients that are made inside reach this machine without a proxy."""
        with _identity:
            before = os.environ.get("no_proxy")
            os.environ["no_proxy"] = no_proxy(self._name)
            try:
                yield
            finally:
                del os.environ["no_proxy"]
                if before is not None:
                    os.environ["no_proxy"] = before


def _bundle() -> bytes:
    """The app that a run is of, as Flower's ``flwr build`` packs it."""
    app = _APP.format(version=autokit.__version__).encode()
    listed = f"pyproject.toml,{hashlib.sha256(app).hexdigest()},{8 * len(app)}"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("pyproject.toml", app)
        archive.writestr(".info/CONTENT", listed)
    return buffer.getvalue()


def _beat(client: RuntimeHttpClient, over: threading.Event) -> None:
    """Tell the SuperLink that the run's server is there."""
    while not over.wait(HEARTBEAT_S):
        with contextlib.suppress(httpx.HTTPError):
            client.SendTaskHeartbeat(SendTaskHeartbeatRequest())

"""What server and nodes send each other, as Flower's records.

A round is one message to each node, ``train``, and one reply. Both are a `ConfigRecord` of plain
values and groups of arrays:

    to a node    round, numbers and names of clients, took, row_noise
                 broadcast: weights, and shared where the algorithm has it
                 kept: what clients keep, where the server keeps it for them
    back         columns of `Updates`; failed: why a client gave nothing
                 updates: deltas and changes, a row for each client
                 packed: updates as `Communication` packs them, instead of deltas
                 kept

What a network is made of travels in the format of `autokit.save`. There is no pickle.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from autokit.federated.protocols import Broadcast, Communication, Packed, Updates
from autokit.persistence.decoding import Reader
from autokit.persistence.encoding import Writer

HELLO, SETUP, TRAIN, STOP = "query.hello", "query.setup", "train", "query.stop"
# Flower sends each array in three requests of their own; smaller groups travel with the values.
SMALL_BYTES = 1 << 20
_STATE = "state.json"
_VALUES = "values"
_MATRICES = ("deltas", "changes")


def pack_objects(objects: dict[str, Any]) -> RecordDict:
    """Objects that `autokit.save` can store, as a message's content.

    Raises
    ------
    TypeError
        One cannot be stored; the message names it.
    """
    writer = Writer()
    tree = {name: writer.encode(value, name) for name, value in objects.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_STATE), json.dumps(tree))
        for name, data in writer.members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return _content({}, objects=buffer.getvalue())


def unpack_objects(content: RecordDict) -> dict[str, Any]:
    """The inverse of `pack_objects`: checked as a whole before anything is made."""
    with zipfile.ZipFile(io.BytesIO(_group(content, "objects"))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    tree = json.loads(members.pop(_STATE))
    reader = Reader(members)
    reader.check(tree)
    return reader.decode(tree)


def pack_broadcast(sent: Broadcast) -> bytes:
    """Arrays that go to all clients: the same bytes for each node, which Flower stores once."""
    arrays = {"weights": sent.weights}
    if sent.shared.size:
        arrays["shared"] = sent.shared
    return _npz(arrays)


@dataclass
class Job:
    """Some clients' part in a round.

    Attributes
    ----------
    numbers : list of int
        Of the clients in the federation.
    names : list of str
        What their node calls them.
    broadcast : Broadcast
    kept : list of dict, or None
        What each kept from its last round; None where nodes keep it themselves.
    took : list of int
        The last round of each whose update was used; -1 for none.
    """

    numbers: list[int]
    names: list[str]
    broadcast: Broadcast
    kept: list[dict] | None
    took: list[int]

    def content(self, broadcast: bytes) -> RecordDict:
        """As a message's content, with what `pack_broadcast` gave."""
        values = {
            "round": self.broadcast.round,
            "row_noise": float(self.broadcast.row_noise),
            "numbers": self.numbers,
            "names": self.names,
            "took": self.took,
            "carries": self.kept is not None,
        }
        return _content(values, broadcast=broadcast, kept=_bundle(self.kept or []))

    @classmethod
    def read(cls, content: RecordDict) -> Job:
        """From a message's content."""
        values = content.config_records[_VALUES]
        arrays = _arrays(_group(content, "broadcast"))
        shared = arrays.get("shared", np.zeros(0, np.float32))
        sent = Broadcast(values["round"], arrays["weights"], shared, values["row_noise"])
        numbers = list(values["numbers"])
        kept = _unbundle(_group(content, "kept"), len(numbers)) if values["carries"] else None
        return cls(numbers, list(values["names"]), sent, kept, list(values["took"]))


@dataclass
class Answer:
    """What a node makes of a job.

    Attributes
    ----------
    updates : Updates or None
        None if no client gave one.
    kept : list of dict
        A dict for each row of the updates; empty ones where the nodes keep it.
    packed : list of (Packed or None)
        Updates on the wire; empty without a `Communication`.
    failed : dict of int to str
        Why a client gave none.
    """

    updates: Updates | None
    kept: list[dict] = field(default_factory=list)
    packed: list[Packed | None] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)

    def content(self) -> RecordDict:
        """As a message's content."""
        columns: dict[str, np.ndarray] = {}
        if self.updates is not None:
            columns = {k: v for k, v in vars(self.updates).items() if v is not None}
        if self.packed:
            bare = [i for i, part in enumerate(self.packed) if part is None]
            columns["deltas"] = columns["deltas"][bare]
        matrices = {k: columns.pop(k) for k in _MATRICES if k in columns}
        return _content(
            {k: v.tolist() for k, v in columns.items()} | {"failed": json.dumps(self.failed)},
            updates=_npz(matrices),
            packed=_bundle([{} if part is None else part.arrays for part in self.packed]),
            kept=_bundle(self.kept),
        )

    @classmethod
    def read(cls, content: RecordDict, communication: Communication | None, size: int) -> Answer:
        """From a message's content."""
        values = dict(content.config_records[_VALUES])
        failed = {int(k): str(v) for k, v in json.loads(values["failed"]).items()}
        columns = {k: np.array(values[k]) for k in Updates.__dataclass_fields__ if k in values}
        if not columns:
            return cls(None, failed=failed)
        n = len(columns["clients"])
        columns |= _arrays(_group(content, "updates"))
        if communication is not None:
            parts = _unbundle(_group(content, "packed"), n)
            bare = iter(columns["deltas"])
            columns["deltas"] = np.stack(
                [communication.unpack(Packed(p), size) if p else next(bare) for p in parts]
            )
        return cls(Updates(**columns), _unbundle(_group(content, "kept"), n), failed=failed)

    def check(self, numbers: Sequence[int], size: int, n_shared: int) -> None:
        """Refuse an answer of other clients than were asked, or of another network.

        Raises
        ------
        ValueError
        """
        updates = self.updates
        told = [] if updates is None else updates.clients.tolist()
        if sorted([*told, *self.failed]) != sorted(numbers):
            raise ValueError("it is not of the clients that were asked")
        if updates is None:
            return
        shapes = {"deltas": (len(told), size), "changes": (len(told), n_shared)}
        for name, value in vars(updates).items():
            if name == "changes" and not n_shared:
                updates.changes = None
            elif value is None and name not in ("deltas", "changes"):
                continue
            elif np.shape(value) != shapes.get(name, (len(told),)) or value.dtype.kind not in "if":
                raise ValueError(f"its {name} are not what was asked for")
        if (updates.n_rows < 1).any():
            raise ValueError("it is of no rows")


def _content(values: dict[str, Any], **groups: bytes) -> RecordDict:
    """Values and groups of arrays; an absent group is an empty one."""
    small = {name: data for name, data in groups.items() if 0 < len(data) <= SMALL_BYTES}
    content = RecordDict({_VALUES: ConfigRecord(values | small)})
    for name, data in groups.items():
        if len(data) > SMALL_BYTES:
            content[name] = ArrayRecord({"data": Array(np.frombuffer(data, np.uint8))})
    return content


def _group(content: RecordDict, name: str) -> bytes:
    if name in content.array_records:
        return content.array_records[name]["data"].numpy().tobytes()
    return content.config_records[_VALUES].get(name, b"")


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    if not arrays:
        return b""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    if not data:
        return {}
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _bundle(parts: Sequence[dict[str, np.ndarray]]) -> bytes:
    """Arrays by name, of each client."""
    return _npz({f"{i}/{k}": v for i, part in enumerate(parts) for k, v in part.items()})


def _unbundle(data: bytes, n: int) -> list[dict[str, np.ndarray]]:
    parts: list[dict[str, np.ndarray]] = [{} for _ in range(n)]
    for name, array in _arrays(data).items():
        place, _, key = name.partition("/")
        parts[int(place)][key] = array
    return parts

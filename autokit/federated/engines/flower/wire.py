"""What server and nodes send each other, as Flower's records.

A round is one message to each node, ``train``::

    ArrayRecord  "broadcast"   weights; shared, where the algorithm has it
    ArrayRecord  "kept"        what clients keep, where the server keeps it for them
    ConfigRecord "work"        round, numbers and names of clients; took, clip_norm

and one reply::

    ArrayRecord  "updates"     deltas and changes of `Updates`, a row for each client
    ArrayRecord  "packed"      updates as `Communication` packs them, instead of deltas
    ArrayRecord  "kept"        as above
    ConfigRecord "columns"     the other columns of `Updates`
    ConfigRecord "failed"      why a client gave nothing, by its number

All is arrays and plain values; what a network is made of travels in the format of `autokit.save`.
Flower sends each array of a record in a request of its own: many small ones travel as one.
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

SETUP, TRAIN, STOP = "query.setup", "train", "query.stop"
_STATE = "state.json"
_DELTAS = "deltas"
_MATRICES = (_DELTAS, "changes")


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
    data = np.frombuffer(buffer.getvalue(), np.uint8)
    return RecordDict({"objects": ArrayRecord({"data": Array(data)})})


def unpack_objects(content: RecordDict) -> dict[str, Any]:
    """The inverse of `pack_objects`: checked as a whole before anything is made."""
    data = content.array_records["objects"]["data"].numpy()
    with zipfile.ZipFile(io.BytesIO(data.tobytes())) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    tree = json.loads(members.pop(_STATE))
    reader = Reader(members)
    reader.check(tree)
    return reader.decode(tree)


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

    def content(self) -> RecordDict:
        """As a message's content."""
        sent = self.broadcast
        arrays = {"weights": sent.weights}
        if sent.shared.size:
            arrays["shared"] = sent.shared
        work = {
            "round": sent.round,
            "clip_norm": float(sent.clip_norm),
            "numbers": self.numbers,
            "names": self.names,
            "took": self.took,
            "carries": self.kept is not None,
        }
        return RecordDict({
            "broadcast": _arrays(arrays),
            "kept": _bundle(self.kept or []),
            "work": ConfigRecord(work),
        })  # fmt: skip

    @classmethod
    def read(cls, content: RecordDict) -> Job:
        """From a message's content."""
        work = content.config_records["work"]
        arrays = _numpy(content.array_records["broadcast"])
        shared = arrays.get("shared", np.zeros(0, np.float32))
        numbers = list(work["numbers"])
        kept = _unbundle(content.array_records["kept"], len(numbers))
        return cls(
            numbers,
            list(work["names"]),
            Broadcast(int(work["round"]), arrays["weights"], shared, float(work["clip_norm"])),
            kept if work["carries"] else None,
            list(work["took"]),
        )


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
            columns[_DELTAS] = columns[_DELTAS][bare]
        matrices = {k: columns.pop(k) for k in _MATRICES if k in columns}
        return RecordDict({
            "updates": _arrays(matrices),
            "packed": _bundle([{} if part is None else part.arrays for part in self.packed]),
            "kept": _bundle(self.kept),
            "columns": ConfigRecord({k: v.tolist() for k, v in columns.items()}),
            "failed": ConfigRecord({str(number): why for number, why in self.failed.items()}),
        })  # fmt: skip

    @classmethod
    def read(cls, content: RecordDict, communication: Communication | None, size: int) -> Answer:
        """From a message's content."""
        failed = {int(k): str(v) for k, v in content.config_records["failed"].items()}
        columns = {k: np.array(v) for k, v in content.config_records["columns"].items()}
        if not columns:
            return cls(None, failed=failed)
        n = len(columns["clients"])
        columns |= _numpy(content.array_records["updates"])
        if communication is not None:
            parts = _unbundle(content.array_records["packed"], n)
            bare = iter(columns[_DELTAS])
            columns[_DELTAS] = np.stack(
                [communication.unpack(Packed(p), size) if p else next(bare) for p in parts]
            )
        kept = _unbundle(content.array_records["kept"], n)
        return cls(Updates(**columns), kept, failed=failed)


def _arrays(arrays: dict[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord({name: Array(np.asarray(array)) for name, array in arrays.items()})


def _numpy(record: ArrayRecord) -> dict[str, np.ndarray]:
    return {name: array.numpy() for name, array in record.items()}


def _bundle(parts: Sequence[dict[str, np.ndarray]]) -> ArrayRecord:
    """Arrays by name, of each client, as one array of bytes."""
    arrays = {f"{i}/{k}": v for i, part in enumerate(parts) for k, v in part.items()}
    if not arrays:
        return ArrayRecord()
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return ArrayRecord({"data": Array(np.frombuffer(buffer.getvalue(), np.uint8))})


def _unbundle(record: ArrayRecord, n: int) -> list[dict[str, np.ndarray]]:
    parts: list[dict[str, np.ndarray]] = [{} for _ in range(n)]
    for bundle in record.values():
        with np.load(io.BytesIO(bundle.numpy().tobytes()), allow_pickle=False) as file:
            for name in file.files:
                place, _, key = name.partition("/")
                parts[int(place)][key] = file[name]
    return parts

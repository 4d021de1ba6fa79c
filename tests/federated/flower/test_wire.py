"""What goes over the wire comes out as it went in, and nothing else does."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from autokit._backend import keras
from autokit.federated.communication import QuantizedUpdates
from autokit.federated.protocols import Broadcast, Packed, Updates
from autokit.testing.federations import (
    federation,
    start,
)


@pytest.fixture
def wire(flower):
    from autokit.federated.engines.flower import wire

    return wire


def updates(n_clients: int, size: int, rng) -> Updates:
    counts = np.arange(1, n_clients + 1)
    return Updates(
        clients=counts + 4,
        deltas=rng.normal(size=(n_clients, size)).astype(np.float32),
        n_rows=counts * 10,
        n_steps=counts,
        losses=rng.random(n_clients),
        hits=counts.astype(float),
        n_met=counts * 20,
        changes=rng.normal(size=(n_clients, size - 1)).astype(np.float32),
        bytes_up=counts * 4,
    )


@pytest.mark.parametrize("size", [7, 300_000], ids=["small", "large"])
def test_a_job_comes_through(wire, size):
    rng = np.random.default_rng(0)
    sent = Broadcast(3, rng.normal(size=size).astype(np.float32), np.zeros(0, np.float32), 0.5)
    kept = [{"variate": np.arange(3.0)}, {}]
    job = wire.Job([4, 9], ["4", "north/9"], sent, kept, [2, -1])
    found = wire.Job.read(job.content(wire.pack_broadcast(sent)))
    assert (found.numbers, found.names, found.took) == (job.numbers, job.names, job.took)
    assert (found.broadcast.round, found.broadcast.row_noise) == (3, 0.5)
    np.testing.assert_array_equal(found.broadcast.weights, sent.weights)
    assert found.broadcast.shared.size == 0
    np.testing.assert_array_equal(found.kept[0]["variate"], np.arange(3.0))
    assert found.kept[1] == {}


def test_a_job_whose_node_keeps_things_carries_none(wire):
    sent = Broadcast(0, np.ones(2, np.float32), np.ones(1, np.float32))
    content = wire.Job([0], ["a"], sent, None, [-1]).content(wire.pack_broadcast(sent))
    found = wire.Job.read(content)
    assert found.kept is None
    np.testing.assert_array_equal(found.broadcast.shared, [1.0])


@pytest.mark.parametrize("size", [7, 300_000], ids=["small", "large"])
def test_an_answer_comes_through(wire, size):
    given = updates(2, size, np.random.default_rng(0))
    answer = wire.Answer(given, [{}, {"own": np.ones(2)}], failed={7: "no such file"})
    found = wire.Answer.read(answer.content(), None, size)
    for name, value in vars(given).items():
        if value is None:
            assert getattr(found.updates, name) is None
        else:
            np.testing.assert_array_equal(getattr(found.updates, name), value)
    assert found.failed == {7: "no such file"}
    assert found.kept[0] == {}
    np.testing.assert_array_equal(found.kept[1]["own"], [1.0, 1.0])


def test_packed_updates_travel_packed(wire):
    rng = np.random.default_rng(0)
    given, way = updates(2, 4096, rng), QuantizedUpdates(bits=4)
    given.deltas[1] = np.nan  # cannot be packed
    packed: list[Packed | None] = [way.pack(given.deltas[0], rng), None]
    content = wire.Answer(given, [{}, {}], packed).content()
    found = wire.Answer.read(content, way, 4096)
    np.testing.assert_array_equal(found.updates.deltas[0], way.unpack(packed[0], 4096))
    assert np.isnan(found.updates.deltas[1]).all()
    alone = wire.Answer(given.take([0]), [{}], packed[:1]).content()
    assert len(wire._group(alone, "packed")) < 4096
    assert len(wire._group(alone, "updates")) < 4 * 4096 + 1000  # the changes


def test_no_client_gave_anything(wire):
    found = wire.Answer.read(wire.Answer(None, failed={0: "gone"}).content(), None, 3)
    assert found.updates is None
    assert found.failed == {0: "gone"}


class _Fleet:
    """Nodes that give prepared answers."""

    def __init__(self, answers: dict):
        from autokit.federated.engines.flower.fleet import Member

        self.members, self.answers = {0: Member(""), 1: Member("")}, answers

    def meet(self):
        pass

    def ask(self, contents, group):
        yield from ((key, self.answers[key[0]]) for key in reversed(list(contents)))


@pytest.mark.parametrize(
    "spoil, why",
    [
        (lambda u: u.take([0]), "not of the clients that were asked"),
        (lambda u: replace(u, clients=u.clients + 1), "not of the clients that were asked"),
        (lambda u: replace(u, deltas=u.deltas[:, :-1]), "its deltas are not what was asked for"),
        (lambda u: replace(u, losses=u.losses[:1]), "its losses are not what was asked for"),
        (lambda u: replace(u, n_rows=u.n_rows - 20), "it is of no rows"),
        (lambda u: None, "not of the clients that were asked"),
    ],
)
def test_answers_that_make_no_sense_are_dropped(wire, spoil, why):
    from autokit.federated.engines.flower.rounds import FlowerRun

    given = federation(sizes=(4, 4, 4))
    good = updates(3, given.layout.size, np.random.default_rng(0))
    good = replace(good, clients=np.arange(3), changes=None)
    answers = {
        0: wire.Answer(good.take([0]), [{}]).content(),
        1: wire.Answer(spoil(good.take([1, 2]))).content(),
    }
    run = FlowerRun(given, start(given), _Fleet(answers), {0: 0, 1: 1, 2: 1}, {})
    report = run.round(np.arange(3))
    assert report.clients == [0]
    assert report.dropped.keys() == {1, 2}
    assert all(why in reason for reason in report.dropped.values())
    np.testing.assert_allclose(run.state.weights, start(given).weights + good.deltas[0], atol=1e-6)


def test_answers_of_something_else_are_dropped(wire):
    from flwr.app import RecordDict

    from autokit.federated.engines.flower.rounds import FlowerRun

    given = federation(sizes=(4, 4))
    for answer in (RecordDict(), wire._content({"failed": "[}"}), wire._content({}, updates=b"no")):
        run = FlowerRun(given, start(given), _Fleet({0: answer}), {0: 0, 1: 0}, {})
        report = run.round(np.arange(2))
        assert report.clients == []
        assert all("of no use" in why for why in report.dropped.values())


def test_a_network_comes_through_with_its_values(wire):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    found = wire.unpack_objects(wire.pack_objects({"model": model, "seed": 2**40, "rows": "0"}))
    assert (found["seed"], found["rows"]) == (2**40, "0")
    np.testing.assert_array_equal(found["model"].get_weights()[0], model.get_weights()[0])


def test_only_known_classes_are_made(wire):
    content = wire._content({}, objects=_zip({"a": {"!": "object", "class": "os:system"}}))
    with pytest.raises(ValueError, match="os:system"):
        wire.unpack_objects(content)


def _zip(tree) -> bytes:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("state.json", json.dumps(tree))
    return buffer.getvalue()

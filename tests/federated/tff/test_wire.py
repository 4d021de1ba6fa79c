"""Messages between two processes."""

from __future__ import annotations

import io
import socket
import threading

import numpy as np
import pytest

from autokit.federated.engines.tff.worker.wire import Wire


@pytest.fixture
def ends():
    a, b = socket.socketpair()
    ends = Wire(a.detach()), Wire(b.detach())
    yield ends
    for end in ends:
        end.close()


def test_headers_and_arrays_arrive_as_they_were(ends):
    arrays = {
        "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
        "rule.0": np.float32(2.5),
        "seeds": np.zeros((0, 2), np.int64),
        "name": np.bytes_(b"text"),
    }
    ends[0].send({"do": "round", "clients": ["a", "é"], "rate": 0.1}, arrays)
    header, received = ends[1].receive()
    assert header == {"do": "round", "clients": ["a", "é"], "rate": 0.1}
    assert list(received) == list(arrays)
    for name, array in arrays.items():
        assert received[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(received[name], array)


def test_messages_larger_than_a_socket_holds(ends):
    big = np.random.default_rng(0).normal(size=1_000_000)
    sender = threading.Thread(target=ends[0].send, args=({}, {"big": big}))
    sender.start()
    _, received = ends[1].receive()
    sender.join()
    np.testing.assert_array_equal(received["big"], big)


def test_no_pickle_goes_in_or_out(ends):
    ends[0]._connection.send_bytes(b"{}")

    packed = io.BytesIO()
    np.savez(packed, evil=np.array([print], dtype=object))
    ends[0]._connection.send_bytes(packed.getvalue())
    with pytest.raises(ValueError, match="allow_pickle=False"):
        ends[1].receive()


def test_an_end_that_is_gone_is_seen_at_once(ends):
    ends[0].close()
    with pytest.raises(EOFError):
        ends[1].receive()
    with pytest.raises(OSError, match="Broken pipe"):
        ends[1].send({})

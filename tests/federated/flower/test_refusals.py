"""What is refused, and what the message says."""

from __future__ import annotations

import importlib.metadata
import socket

import numpy as np
import pytest

from autokit import load, save
from autokit._backend import keras
from autokit.federated import FedAvg, FederatedTrainer, FlowerEngine
from autokit.federated.engines.flower import join, serve
from autokit.federated.engines.flower.engine import spread
from autokit.federated.engines.flower.installed import require_flower
from autokit.federated.engines.flower.serving import begin, parse_address
from autokit.testing.federations import (
    federation,
)

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)


def test_tells_how_to_install_it(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(ImportError, match=r"pip install 'autokit\[flower\]'"):
        FederatedTrainer(engine="flower").fit(X, y)


@pytest.mark.parametrize("found", ["1.40.2", "1.41.0", "0.9"])
def test_refuses_an_old_flower(monkeypatch, found):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: found)
    with pytest.raises(ImportError, match=rf"needs Flower 1.42.*and {found} is installed"):
        require_flower()


def test_tells_of_a_flower_that_has_changed(monkeypatch):
    from autokit.federated.engines.flower import installed

    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.99.0")
    monkeypatch.setattr(installed, "PARTS", ("autokit.no_such_part",))
    with pytest.raises(ImportError, match=r"does not know Flower 1.99.0 \(No module named"):
        require_flower()


def test_is_saved_with_an_estimator(tmp_path):
    path = save(FederatedTrainer(engine=FlowerEngine(n_nodes=3)), tmp_path / "trainer.autokit")
    assert load(path).engine.n_nodes == 3


def test_refuses_what_cannot_be_sent_by_name(flower):
    class Own(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    def build():
        return keras.Sequential([keras.Input((4,)), Own(), keras.layers.Dense(3, "softmax")])

    with pytest.raises(ValueError, match="The 'model' cannot be sent .*engine='embedded'") as told:
        FlowerEngine().check(federation(build))
    assert "autokit.save" not in str(told.value)

    class OwnAverage(FedAvg):
        pass

    with pytest.raises(ValueError, match="'algorithm' cannot be sent .*OwnAverage") as told:
        FlowerEngine().check(federation(algorithm=OwnAverage()))
    assert "joblib" not in str(told.value)


@pytest.mark.parametrize(
    "parameter", [{"n_nodes": 0}, {"timeout_s": 0}, {"start_timeout_s": -1}, {"insecure": "no"}]
)
def test_names_a_wrong_parameter(parameter):
    (name,) = parameter
    with pytest.raises(ValueError, match=f"The '{name}' parameter of FlowerEngine"):
        FlowerEngine(**parameter).check(federation())


def test_spreads_rows_evenly():
    homes = spread(np.array([10, 1, 1, 1, 9, 1]), 2)
    loads = np.bincount(homes, weights=[10, 1, 1, 1, 9, 1])
    assert abs(loads[0] - loads[1]) <= 1


@pytest.mark.parametrize(
    "address", ["example.org", ":9092", "host:port", "host:99999", "http://host:80"]
)
def test_refuses_what_is_no_address(address):
    with pytest.raises(ValueError, match="must be host:port"):
        parse_address(address)


def test_takes_addresses():
    assert parse_address("0.0.0.0:9092") == ("0.0.0.0", 9092)
    assert parse_address("[::1]:80") == ("::1", 80)


def test_serving_without_tls_must_be_said(flower):
    with pytest.raises(ValueError, match=r"TLS needs credentials.*insecure=True \(--insecure\)"):
        serve(FederatedTrainer(), "127.0.0.1:0")


def test_serves_what_has_a_network(flower):
    with pytest.raises(ValueError, match="not fitted .* call `begin`"):
        serve(FederatedTrainer(), "127.0.0.1:0", insecure=True)


def test_does_not_serve_local_normalization(flower):
    model = begin(FederatedTrainer(batch_norm="local"), X, y)
    with pytest.raises(ValueError, match="'batch_norm' parameter must be 'average'"):
        serve(model, "127.0.0.1:0", insecure=True)


def test_begin_trains_nothing(flower):
    estimator = begin(FederatedTrainer(random_state=0), X, y, classes=[0, 1, 2])
    assert estimator.n_rounds_ == 0
    assert estimator.classes_.tolist() == [0, 1, 2]
    assert estimator.predict_proba(X).shape == (20, 3)


def test_waits_for_nodes_no_longer_than_it_is_told(flower):
    said = []
    with pytest.raises(TimeoutError, match=r"0 of 2 nodes joined within 0.2 s.*\(--min-nodes\)"):
        serve(
            begin(FederatedTrainer(), X, y),
            "127.0.0.1:0",
            insecure=True,
            start_timeout_s=0.2,
            say=said.append,
        )
    assert "waiting for 2 nodes" in said[0]


def test_an_address_that_is_taken_is_told(flower):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(OSError, match=f"^{address} cannot be listened on .*--address"):
            serve(begin(FederatedTrainer(), X, y), address, insecure=True)


def test_joining_needs_an_address(tmp_path):
    with pytest.raises(ValueError, match="must be host:port, .* got '127.0.0.1'"):
        join("127.0.0.1", [tmp_path / "a.npz"], insecure=True)


def test_joining_without_tls_must_be_said(tmp_path):
    with pytest.raises(ValueError, match="TLS needs the server's root certificate"):
        join("127.0.0.1:1", [tmp_path / "a.npz"])
    with pytest.raises(ValueError, match="exclude each other"):
        join("127.0.0.1:1", [tmp_path / "a.npz"], tmp_path / "root.pem", insecure=True)


def test_joining_needs_files_of_different_names(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        join("127.0.0.1:1", [tmp_path / "a.npz"], insecure=True)
    with pytest.raises(ValueError, match="two files have the same name"):
        join("127.0.0.1:1", [tmp_path / "a.npz", tmp_path / "b" / "a.npz"], insecure=True)
    with pytest.raises(ValueError, match="data is empty"):
        join("127.0.0.1:1", [], insecure=True)

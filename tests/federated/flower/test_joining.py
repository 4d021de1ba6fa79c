"""What the owner of a node is told, and what Flower may say."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from autokit.federated import FederatedTrainer, FederatedWarning
from autokit.federated.engines.flower.serving import _encoder_of, _Remote, begin
from autokit.testing.federations import federation

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
y = np.where(X[:, 0] > 0, "warm", "cold")


def test_of_clients_that_cannot_take_part_the_owner_is_told(flower, tmp_path):
    """Files that can be read are not called unreadable."""
    import json

    from autokit.federated.engines.flower.engine import task_of
    from autokit.federated.engines.flower.node import Node

    rows = {"good": (X, y), "columns": (X[:, :2], y), "labels": (X, np.full(20, "hot"))}
    files = {name: tmp_path / f"{name}.npz" for name in (*rows, "unreadable")}
    for name, (own_X, own_y) in rows.items():
        np.savez(files[name], X=own_X, y=own_y)
    files["unreadable"].write_text("text")
    estimator = begin(FederatedTrainer(), X, y)
    task = task_of(estimator._federation(_Remote({})), encoder=_encoder_of(estimator))
    node = Node(files)
    with pytest.warns(FederatedWarning) as warned:
        told = node.setup(task).config_records["node"]
    assert json.loads(told["sizes"]) == {"good": 20}
    failed = json.loads(told["failed"])
    assert failed["columns"].startswith("X has 2 features, but")
    assert failed["labels"].startswith("y has labels that were not in fit, such as 'hot'")
    assert "must be an .npz file" in failed["unreadable"]
    assert [str(warning.message) for warning in warned] == [
        f"Client {name!r} cannot take part: {why}" for name, why in failed.items()
    ]
    node._failure("columns", ValueError("again"))  # is not told twice


def test_a_node_of_our_own_warns_of_nothing(flower, tmp_path):
    from autokit.federated.engines.flower.engine import task_of
    from autokit.federated.engines.flower.node import Node

    node = Node({}, tmp_path)
    node.setup(task_of(federation(), rows=""))
    assert node._failure("a", OSError("no file")) == "no file"


def test_what_flower_says_of_an_error_is_not_logged_but_quoted(flower, monkeypatch, caplog):
    from autokit.federated.engines.flower.joining import _heard, _reason

    monkeypatch.delenv("FLWR_LOG_LEVEL", raising=False)
    text = (
        "Exit Code: 305\nFailed to initialize the connection to the SuperLink.\n"
        "[Errno 111] Connection refused\nThe SuperNode could not\n"
    )
    with _heard() as errors:
        logging.getLogger("flwr").error(text)
    assert not caplog.records
    assert _reason(errors) == " ([Errno 111] Connection refused)"
    assert _reason(["Exit Code: 1\nSomething else"]) == ""
    logging.getLogger("flwr").error("afterwards")
    assert [record.message for record in caplog.records] == ["afterwards"]


def test_who_could_not_join_goes_on(flower, monkeypatch):
    """Flower ends the process after its SuperNode, whatever is done with the error."""
    from autokit.federated.engines.flower import node

    ended = []
    monkeypatch.setattr(node.os, "_exit", ended.append)
    node._Exits._exit(1)
    assert ended == []
    node._Exits._exit(0)  # a signal asked for it
    assert ended == [130]


def test_flower_does_not_fill_the_log_of_a_program(flower):
    program = """
        import logging
        logging.basicConfig(level=logging.WARNING)
        from autokit.federated.engines.flower.installed import require_flower
        require_flower()
        logging.getLogger("flwr").debug("much")
        logging.getLogger("flwr").error("an error")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "much" not in done.stderr
    assert "ERROR:flwr:an error" in done.stderr

"""Several machines, played by processes; and who takes part when nodes come and go."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import numpy as np
import pytest

import autokit
from autokit.federated import FederatedTrainer
from autokit.federated.engines.flower.certificates import make_certificates
from autokit.federated.engines.flower.processes import free_port
from autokit.privacy import DifferentialPrivacy

CLI = [sys.executable, "-m", "autokit.cli", "federated"]


def start(*arguments, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [*CLI, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture
def data(tmp_path):
    """Files of four clients with names for labels."""
    rng = np.random.default_rng(0)
    files = {}
    for name in ("east", "north", "south", "west"):
        X = rng.normal(size=(30, 4)).astype(np.float32)
        files[name] = tmp_path / f"{name}.npz"
        np.savez(files[name], X=X, y=np.where(X[:, 0] > 0, "warm", "cold"))
    return files


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"algorithm": "scaffold", "communication": "quantized"},
        {"privacy": DifferentialPrivacy(20.0, 1e-2, accountant="rdp")},
    ],
    ids=["scaffold", "private"],
)
def test_machines_train_what_one_would(flower, data, tmp_path, settings):
    """With error feedback: what clients keep stays at their nodes, and is right."""
    settings = settings | {"n_rounds": 4, "random_state": 0}
    pairs = {name: np.load(path) for name, path in data.items()}
    pairs = {name: (file["X"], file["y"]) for name, file in pairs.items()}
    expected = FederatedTrainer(**settings).fit_clients(pairs)
    autokit.save(FederatedTrainer(**settings), tmp_path / "model.autokit")
    example = tmp_path / "example.npz"
    np.savez(example, **{k: np.concatenate([p[i] for p in pairs.values()])
                         for i, k in enumerate("Xy")})  # fmt: skip
    tls = make_certificates([], tmp_path / "tls")
    superlink = f"127.0.0.1:{free_port()}"
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home)}
    serving = ["serve", tmp_path / "model.autokit", "--example", example]
    serving += ["--out", tmp_path / "trained.autokit", "--address", superlink]
    serving += ["--certificate", tls.certificate, "--key", tls.key, "--secret", tls.secret]
    joining = ["join", "--superlink", superlink, "--root-certificate", tls.root, "--data"]
    secret = ["--secret", tls.secret]
    with contextlib.ExitStack() as stack:

        def begun(*arguments):
            process = stack.enter_context(start(*arguments, env=environment))
            stack.callback(process.kill)
            return process

        server = begun(*serving, "--root-certificate", tls.root)
        stranger = begun(*joining, data["east"])
        told = stranger.communicate(timeout=180)
        assert stranger.returncode == 1, told
        assert "sent this node away: it does not know the secret" in told[1]
        nodes = [
            begun(*joining, data["east"], data["south"], *secret),
            begun(*joining, data["north"], data["west"], *secret),
        ]
        said = [process.communicate(timeout=180) for process in (server, *nodes)]
    assert [process.returncode for process in (server, *nodes)] == [0, 0, 0], said
    assert "waiting for 2 nodes" in said[0][1]
    assert "4 rounds" in said[0][0]
    assert [out.strip() for out, _ in said[1:]] == ["the training is over"] * 2
    assert not (home / ".flwr").exists()
    assert not list(home.glob("autokit-flower-*"))
    found = autokit.load(tmp_path / "trained.autokit")
    X = pairs["east"][0]
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), atol=1e-5)
    assert found.history_["bytes_up"] == expected.history_["bytes_up"]
    assert found.history_["clients"][-1] == ["east", "north", "south", "west"]
    assert found.history_.get("epsilon") == expected.history_.get("epsilon")
    assert found._state.kept == {}


@pytest.mark.slow
def test_a_server_that_is_not_there_is_told(flower, data):
    with start("join", "--superlink", f"127.0.0.1:{free_port()}", "--insecure", "--patience", "0.5",
               "--data", data["east"]) as process:  # fmt: skip
        _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert err.startswith("autokit: error: ")
    assert "could not be reached without TLS ([Errno" in err
    assert err.count("\n") == 1


class _Fleet:
    def __init__(self, **members):
        self.members = dict(enumerate(members.values()))


def test_who_is_welcome(flower):
    from autokit.federated.engines.flower.fleet import Member
    from autokit.federated.engines.flower.serving import _objection

    old = Member("", {"a": 3})
    fleet = _Fleet(old=old)
    assert _objection(Member("", {"b": 2}), fleet) == ""
    assert "can take part ('a': no file)" in _objection(Member("", {}, {"a": "no file"}), fleet)
    assert "another node has a client called 'a'" in _objection(Member("", {"a": 3}), fleet)
    old.busy.add("message")
    assert _objection(Member("", {"a": 3}), fleet) == ""
    assert old.gone == "its clients came back with another node"
    late = _objection(Member("", {"b": 2}), fleet, {"a"})
    assert "the training has begun without its clients" in late
    assert _objection(Member("", {"a": 2, "b": 2}), fleet, {"a"}) == ""


def test_clients_are_found_with_their_new_node(flower):
    from autokit.federated.engines.flower.fleet import Member
    from autokit.federated.engines.flower.rounds import FlowerRun

    old, other, new = Member("", {"a": 3, "b": 3}), Member("", {"c": 3}), Member("", {"b": 3})
    run = FlowerRun(None, None, _Fleet(old=old, other=other, new=new), {0: 0, 1: 0, 2: 1}, {},
                    ["a", "b", "c"], carries=False)  # fmt: skip
    run._find_again()
    assert run.places == {0: 0, 1: 0, 2: 1}
    old.gone = "it left"
    run._find_again()
    assert run.places == {0: 0, 1: 2, 2: 1}

"""`autokit federated`: what can be said before anything is started."""

from __future__ import annotations

import logging
import signal

import numpy as np
import pytest

from autokit.cli import main


def run(*arguments) -> int:
    return main(["federated", *map(str, arguments)])


def test_an_action_is_needed(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["federated"])
    assert exit_info.value.code == 2
    assert "ACTION" in capsys.readouterr().err


def test_algorithms_are_those_of_the_package():
    from autokit.cli.flower import ALGORITHMS
    from autokit.federated import ALGORITHMS as KNOWN

    assert list(ALGORITHMS) == sorted(KNOWN)


def test_serving_without_tls_must_be_said(tmp_path, capsys):
    assert run("serve", tmp_path / "m.keras", "--out", tmp_path / "out.autokit") == 1
    assert "TLS needs --certificate, --key and --root-certificate" in capsys.readouterr().err
    code = run("serve", "m.keras", "--out", "o", "--insecure", "--certificate", "a.pem")
    assert code == 1
    assert "exclude each other" in capsys.readouterr().err


def test_serving_names_what_is_missing(tmp_path, capsys):
    model, out = tmp_path / "m.keras", tmp_path / "out.autokit"
    assert run("serve", model, "--out", out, "--insecure") == 1
    assert f"there is no file {model}" in capsys.readouterr().err
    model.touch()
    out.touch()
    assert run("serve", model, "--out", out, "--insecure") == 1
    assert "say --overwrite" in capsys.readouterr().err
    assert run("serve", model, "--out", tmp_path / "no" / "o", "--insecure") == 1
    assert "there is no folder" in capsys.readouterr().err
    files = ("--certificate", "a.pem", "--key", "a.key", "--root-certificate", "root.pem")
    assert run("serve", model, "--out", out, *files) == 1
    assert "the certificate a.pem is not there" in capsys.readouterr().err


def test_an_unfitted_model_needs_an_example(tmp_path, capsys):
    import autokit

    path = autokit.save(autokit.federated.FederatedTrainer(), tmp_path / "m.autokit")
    assert run("serve", path, "--out", tmp_path / "o.autokit", "--insecure") == 1
    assert "--example" in capsys.readouterr().err
    path = autokit.save(autokit.KerasClassifier(), tmp_path / "other.autokit")
    assert run("serve", path, "--out", tmp_path / "o.autokit", "--insecure") == 1
    assert "holds a KerasClassifier" in capsys.readouterr().err


@pytest.mark.parametrize("classes, kind", [("no,yes", "U"), ("0,1", "i"), (None, "f")])
def test_a_network_becomes_an_estimator(tmp_path, classes, kind):
    from autokit._backend import keras
    from autokit.cli.parser import parse
    from autokit.cli.serving import estimator_of

    n_outputs = 1 if classes is None else 2
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(n_outputs)])
    model.save(tmp_path / "m.keras")
    arguments = ["federated", "serve", str(tmp_path / "m.keras"), "--out", "o", "--rounds", "7"]
    arguments += [] if classes is None else ["--classes", classes]
    made = estimator_of(parse(arguments))
    assert made.n_rounds == 7
    assert made.predict(np.zeros((4, 3), np.float32)).dtype.kind == kind
    np.testing.assert_array_equal(made.model_.get_weights()[0], model.get_weights()[0])


def test_a_budget_of_privacy(tmp_path, capsys):
    from autokit._backend import keras
    from autokit.cli.parser import parse
    from autokit.cli.serving import estimator_of
    from autokit.privacy import DifferentialPrivacy

    model = tmp_path / "m.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")]).save(model)
    serving = ["serve", str(model), "--out", str(tmp_path / "o"), "--classes", "0,1"]
    budget = ["--epsilon", "2", "--delta", "1e-3"]
    made = estimator_of(parse(["federated", *serving, *budget, "--clip-norm", "adaptive"]))
    assert made.privacy == DifferentialPrivacy(2.0, 1e-3, clip_norm="adaptive")
    assert estimator_of(parse(["federated", *serving])).privacy is None
    assert run(*serving, "--insecure", "--clip-norm", "0.5") == 1
    assert "both --epsilon and --delta" in capsys.readouterr().err


@pytest.mark.parametrize(
    "classes, told",
    [
        ("no,yes", "has 3 outputs, and --classes names 2 classes; name 3 classes"),
        ("a", "--classes names 1 class; name 3 classes"),
        ("a,,b", "--classes must name each class once"),
        ("0,1,01", "--classes must name each class once"),
    ],
)
def test_classes_are_those_of_the_network(tmp_path, capsys, classes, told):
    from autokit._backend import keras

    model = tmp_path / "m.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "softmax")]).save(model)
    out = tmp_path / "o.autokit"
    assert run("serve", model, "--out", out, "--insecure", "--classes", classes) == 1
    assert told in capsys.readouterr().err


def test_an_example_is_a_file_of_rows(tmp_path, capsys):
    import autokit

    path = autokit.save(autokit.federated.FederatedTrainer(), tmp_path / "m.autokit")
    example = tmp_path / "rows.npz"
    np.savez(example, X=np.zeros((2, 3)))
    serving = ("serve", path, "--out", tmp_path / "o.autokit", "--insecure", "--example", example)
    assert run(*serving) == 1
    assert "must be an .npz file with the plain arrays X and y" in capsys.readouterr().err
    path = autokit.save(autokit.federated.FederatedRegressor(), path)
    np.savez(example, X=np.zeros((2, 3)), y=np.arange(2.0))
    assert run(*serving, "--classes", "0,1") == 1
    assert "has no classes; leave --classes out" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option, told",
    [
        ("--rounds", "argument --rounds: must be a whole number of at least 1, got 'x'"),
        ("--timeout", "argument --timeout: must be a positive number, got 'x'"),
        ("--clip-norm", "argument --clip-norm: must be a positive number, or adaptive, got 'x'"),
    ],
)
def test_a_number_is_asked_for_in_words(capsys, option, told):
    with pytest.raises(SystemExit):
        run("serve", "m.keras", "--out", "o", option, "x")
    assert told in capsys.readouterr().err


def test_who_stops_the_server_is_told_what_there_is(tmp_path, capsys, monkeypatch):
    import autokit
    from autokit._backend import keras
    from autokit.federated.engines import flower

    def interrupted(estimator, *args, **settings):
        if n_rounds:
            X = np.zeros((4, 3), np.float32)
            estimator.set_params(n_rounds=n_rounds).fit(X, np.arange(4) % 2)
        logging.getLogger("autokit").warning("a node does not take part")
        raise KeyboardInterrupt

    monkeypatch.setattr(flower, "serve", interrupted, raising=False)
    before = signal.getsignal(signal.SIGTERM)
    model, out = tmp_path / "m.keras", tmp_path / "o.autokit"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")]).save(model)
    serving = ("serve", model, "--out", out, "--insecure", "--classes", "0,1")
    try:
        n_rounds = 0
        assert run(*serving) == 130
        assert not out.exists()
        n_rounds = 3
        assert run(*serving) == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    told = capsys.readouterr().err.splitlines()
    assert "autokit: a node does not take part" in told
    assert (
        f"autokit: {out} holds what was trained until now (3 rounds); serve it to go on"
        in (told[-2])
    )
    assert autokit.load(out).n_rounds_ == 3


def test_joining_names_what_is_missing(tmp_path, capsys):
    assert run("join", "--superlink", "h:1", "--data", tmp_path / "a.npz") == 1
    told = capsys.readouterr().err
    assert "TLS needs the server's root certificate (root.pem; --root-certificate)" in told
    assert run("join", "--superlink", "h", "--data", tmp_path / "a.npz", "--insecure") == 1
    assert "must be host:port" in capsys.readouterr().err
    assert run("join", "--superlink", "h:1", "--data", tmp_path / "a.npz", "--insecure") == 1
    assert "there is no file" in capsys.readouterr().err


def test_a_certificate_is_made(tmp_path, capsys):
    pytest.importorskip("cryptography", reason="pip install 'autokit[flower]' brings it")
    assert run("certificate", "--host", "fl.example.org", "--out", tmp_path / "tls") == 0
    said = capsys.readouterr().out
    assert f"--certificate {tmp_path / 'tls' / 'server.pem'}" in said
    assert {p.name for p in (tmp_path / "tls").iterdir()} == {
        "root.pem",
        "server.pem",
        "server.key",
        "join.secret",
    }
    assert run("certificate", "--host", "fl.example.org", "--out", tmp_path / "tls") == 1
    assert "is there already" in capsys.readouterr().err

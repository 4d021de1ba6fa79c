"""The `autokit` command: help at once, failures in one line, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest

from autokit.cli import main


def run(*args, **options):
    return subprocess.run(
        [sys.executable, "-m", "autokit.cli", *map(str, args)],
        capture_output=True,
        text=True,
        **options,
    )


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["--version"],
        ["fit", "--help"],
        ["fit", "nowhere.csv"],
        ["tune", "--help"],
        ["info", "nowhere"],
    ],
)
def test_answers_that_need_no_model_load_nothing_heavy(args):
    code = (
        "import sys, contextlib\n"
        "from autokit.cli import main\n"
        f"with contextlib.suppress(SystemExit): main({args!r})\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["quickstart", "--time-budget", "0"], "must be a positive number of seconds, got 0"),
        (["quickstart", "--time-budget", "nan"], "must be a positive number of seconds, got nan"),
        (["quickstart", "--time-budget", "soon"], "invalid seconds value: 'soon'"),
        (["quickstart", "--seed", "-1"], "must be from 0 to"),
        (["fit", "t.csv"], "the following arguments are required: --target"),
        (["fit", "t.csv", "--target", "y", "--task", "guess"], "invalid choice: 'guess'"),
        (["fit", "t.csv", "--target", "y", "--holdout", "1"], "at least 0 and below 1, got 1"),
        (
            ["fit", "t.csv", "--target", "y", "--estimator", "keras", "--time-budget", "1"],
            "--time-budget goes with --estimator nas",
        ),
        (["benchmark", "t.tflite", "--threads", "0"], "must be at least 1, got 0"),
    ],
)
def test_wrong_usage_exits_with_2(args, message, capsys):
    with pytest.raises(SystemExit) as exit:
        main(args)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["info", "nowhere.autokit"], "there is no file nowhere.autokit; check the path."),
        (["benchmark", "nowhere.tflite"], "there is no file nowhere.tflite; check the path."),
        (["predict", "nowhere", "t.csv"], "there is no file nowhere; check the path."),
        (["predict", "t.csv", "nowhere.csv"], "there is no file nowhere.csv; check the path."),
        (["export", "nowhere", "o.tflite"], "there is no file nowhere; check the path."),
        (["fit", "nowhere.csv", "--target", "y"], "nowhere.csv: no such file or directory"),
        (["fit", "t.csv", "--target", "z"], "--target 'z' is no column of t.csv"),
        (["fit", "t.csv", "--target", "y", "--out", "t.csv/out"], "the output folder 't.csv/out'"),
        (["fit", "t.csv", "--target", "y", "--task", "regression"], "--task regression needs"),
        (["quickstart", "--out", "t.csv"], "the output folder 't.csv' cannot be written to"),
    ],
)
def test_failure_is_one_line_and_exits_with_1(args, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,y\n1,p\n2,q\n3,p\n4,q\n")
    assert main(args) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.startswith(f"autokit: error: {message}")
    assert captured.out == ""


def test_model_of_an_earlier_run_is_not_replaced_unasked(tmp_path, capsys):
    data = tmp_path / "t.csv"
    data.write_text("a,y\n1,p\n2,q\n3,p\n4,q\n")
    (tmp_path / "model.autokit").write_text("precious")
    assert main(["fit", str(data), "--target", "y", "--out", str(tmp_path)]) == 1
    assert "exists; replace it with --overwrite" in capsys.readouterr().err
    assert (tmp_path / "model.autokit").read_text() == "precious"


def test_debug_shows_the_trace(tmp_path):
    done = run("info", "nowhere", "--debug", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "FileNotFoundError" in done.stderr


def test_interrupt_exits_with_130(monkeypatch, capsys):
    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr("autokit.cli.commands.info", interrupt)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "autokit: interrupted\n"


def test_warning_is_one_line(monkeypatch, capsys):
    def warn(args):
        warnings.simplefilter("default", UserWarning)  # in the tests they are errors
        warnings.warn("the budget\n ended early", UserWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    monkeypatch.setattr("autokit.cli.commands.info", warn)
    assert main(["info"]) == 0
    assert capsys.readouterr().err == "autokit: warning: the budget ended early\n"


def test_info_shows_versions(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert "tensorflow" in out and "python" in out


def test_reader_that_leaves_early_is_no_failure_to_shout_about():
    with subprocess.Popen(
        [sys.executable, "-m", "autokit.cli", "info"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_backend_of_other_programs_does_not_matter(tmp_path):
    # The file does not exist, so nothing is loaded: it is the environment that is looked at.
    code = (
        "import os; from autokit.cli import main; main(['info', 'nowhere']);"
        "print(os.environ['KERAS_BACKEND'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert done.stdout == "tensorflow\n"

"""What the README shows is what happens: its Python runs, its commands parse."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from autokit.cli.parser import parse

README = Path(__file__).parents[1] / "README.md"
# The same code with less to compute.
SMALLER = {
    "time_budget_s=60": "time_budget_s=4",
    "time_budget_s=30": "time_budget_s=6",
    "epochs=30": "epochs=3",
    "epochs=20": "epochs=2",
}


def blocks(language):
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text(encoding="utf-8"), re.S | re.M)
    return [body for name, body in fenced if name == language]


@pytest.mark.slow
def test_python_blocks_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = "\n".join(blocks("python"))
    for whole, smaller in SMALLER.items():
        assert whole in source
        source = source.replace(whole, smaller)
    exec(compile(source, str(README), "exec"), {})
    assert (tmp_path / "iris.tflite").exists()


def test_commands_parse():
    lines = "".join(blocks("")).replace("\\\n", " ").splitlines()
    commands = [line for line in lines if line.startswith("autokit ")]
    assert len(commands) >= 5
    for command in commands:
        assert parse(shlex.split(command)[1:]).run

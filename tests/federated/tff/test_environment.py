"""The environment of TensorFlow Federated: found, made, and never half-made."""

from __future__ import annotations

import errno
import os
import re
import sys
from types import SimpleNamespace

import pytest

from autokit.federated.engines.tff import InstallFailed, NotInstalled, environment, pythons

FAKE_PYTHON = """#!/bin/sh
# A Python 3.11 to the eye: answers the probe, makes a folder for venv, and "installs" with pip.
case "$*" in
  *"-m venv"*) for last; do :; done
    mkdir -p "$last/bin" "$last/lib" && cp "$0" "$last/bin/python" ;;
  *"-m pip"*) {pip} ;;
  *) echo {version} ;;
esac
"""


def fake_python(folder, *, version="3.11", pip="echo 'Collecting x (from -r pins (line 2))'"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "python3.11"
    path.write_text(FAKE_PYTHON.replace("{pip}", pip).replace("{version}", version))
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No variable of the user's machine; enough space."""
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    monkeypatch.setattr(
        environment.shutil, "disk_usage", lambda place: SimpleNamespace(free=10**12)
    )


def test_pins_are_versions_and_nothing_else():
    lines = environment.PINS.read_text().splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line) for line in lines)
    names = [line.partition("==")[0] for line in lines]
    assert len(set(names)) == len(names)
    assert "tensorflow-federated==0.87.0" in lines


def test_where_it_is(monkeypatch, tmp_path):
    assert environment.folder() == tmp_path / "cache" / "autokit" / "tff-0.87"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert os.fspath(environment.folder()) == "/home/somebody/.cache/autokit/tff-0.87"
    monkeypatch.setenv(environment.VARIABLE, "~/mine")
    assert os.fspath(environment.folder()) == "/home/somebody/mine"


def test_an_installation_says_its_price_first_and_is_not_repeated(tmp_path):
    told = []
    where = environment.folder()
    python = environment.install(python=fake_python(tmp_path), say=told.append)
    assert python == where / "bin" / "python" and environment.is_installed(where)
    assert "2.5 GB" in told[0] and "minutes" in told[0]
    pins = environment.PINS.read_text().split()
    assert f"2 of {len(pins)}: {pins[1]}" in told
    (where / "lib" / "mark").touch()
    environment.install(python="/nowhere")
    assert (where / "lib" / "mark").exists()
    assert environment.required() == python


def test_other_versions_of_packages_are_installed_anew(tmp_path, monkeypatch):
    where = environment.folder()
    environment.install(python=fake_python(tmp_path))
    (where / "lib" / "mark").touch()
    pins = tmp_path / "pins.txt"
    pins.write_text("absl-py==1.4.1\nattrs==23.1.0\n")
    monkeypatch.setattr(environment, "PINS", pins)
    assert not environment.is_installed(where)
    environment.install(python=fake_python(tmp_path))
    assert environment.is_installed(where) and not (where / "lib" / "mark").exists()


@pytest.mark.parametrize(
    ("pip", "message"),
    [
        ("echo ERROR: no such version; exit 1", "ERROR: no such version.*Nothing of it is left"),
        ("echo OSError: [Errno 28] No space left on device; exit 1", "disk of .* is full"),
    ],
)
def test_a_failed_installation_leaves_nothing(tmp_path, pip, message):
    with pytest.raises(InstallFailed, match=message):
        environment.install(python=fake_python(tmp_path, pip=pip))
    assert not environment.folder().exists()
    assert list(environment.folder().parent.iterdir()) == []


def test_an_interrupted_installation_leaves_nothing(tmp_path):
    def interrupted(line):
        if line.startswith("2 of"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        environment.install(python=fake_python(tmp_path), say=interrupted)
    assert not environment.folder().exists()


def test_what_a_killed_installation_left_is_replaced(tmp_path):
    where = environment.folder()
    environment.install(python=fake_python(tmp_path))
    (where / environment._COMPLETE).rename(where / environment._STARTED)
    (where / "lib" / "mark").touch()
    assert not environment.is_installed(where)
    environment.install(python=fake_python(tmp_path))
    assert environment.is_installed(where) and not (where / "lib" / "mark").exists()


def test_folders_of_others_are_left_alone(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").touch()
    with pytest.raises(InstallFailed, match="holds other files"):
        environment.install(mine, python=fake_python(tmp_path))
    assert (mine / "thesis.txt").exists()
    with pytest.raises(InstallFailed, match="is a file"):
        environment.install(mine / "thesis.txt", python=fake_python(tmp_path))


def test_too_little_space_is_told_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda place: SimpleNamespace(free=10**9))
    with pytest.raises(InstallFailed, match="needs 3.0 GB in .* where 1.0 GB are free"):
        environment.install(python=fake_python(tmp_path))
    assert not environment.folder().exists()


def test_a_full_disk_while_folders_are_made(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(environment, "_run", full)
    with pytest.raises(InstallFailed, match="disk of .* is full.*--where"):
        environment.install(python=fake_python(tmp_path))
    assert not environment.folder().exists()


@pytest.mark.parametrize(
    ("system", "machine", "library", "told"),
    [
        ("darwin", "arm64", ("", ""), "darwin on arm64; use engine='embedded'"),
        ("linux", "aarch64", ("glibc", "2.36"), "linux on aarch64 with glibc 2.36"),
        ("linux", "x86_64", ("glibc", "2.28"), "with glibc 2.28; use"),
        ("win32", "AMD64", ("", ""), "win32 on AMD64"),
    ],
)
def test_other_systems_are_refused(system, machine, library, told, monkeypatch):
    monkeypatch.setattr(environment.sys, "platform", system)
    monkeypatch.setattr(environment.platform, "machine", lambda: machine)
    monkeypatch.setattr(environment.platform, "libc_ver", lambda: library)
    with pytest.raises(InstallFailed, match=told):
        environment.install()


def test_without_a_terminal_the_command_is_told(monkeypatch):
    with pytest.raises(NotInstalled, match="'autokit tff install' .2.5 GB .*'embedded'"):
        environment.required()
    with pytest.raises(NotInstalled, match="autokit tff install --where /somewhere"):
        environment.required("/somewhere")


class _Terminal:
    def __init__(self, answer=""):
        self.answer, self.written = answer, ""

    def isatty(self):
        return True

    def readline(self):
        return self.answer

    def write(self, text):
        self.written += text

    def flush(self):
        pass


@pytest.mark.parametrize(("answer", "installs"), [("y\n", True), ("\n", False), ("", False)])
def test_on_a_terminal_it_is_offered(answer, installs, monkeypatch):
    calls, screen = [], _Terminal()
    monkeypatch.setattr(sys, "stdin", _Terminal(answer))
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(environment, "install", lambda where, say: calls.append(where) or "python")
    if installs:
        assert environment.required() == "python"
    else:
        with pytest.raises(NotInstalled):
            environment.required()
    assert calls == [environment.folder()] * installs
    assert "2.5 GB" in screen.written and "[y/N]" in screen.written


def test_a_python_is_found_by_name_by_pyenv_and_by_uv(tmp_path, monkeypatch):
    monkeypatch.setattr(pythons.sys, "version_info", SimpleNamespace(major=3, minor=12))
    on_path, in_pyenv, of_uv = tmp_path / "path", tmp_path / "pyenv", tmp_path / "uv"
    monkeypatch.setenv("PATH", f"{on_path}:/bin:/usr/bin")
    monkeypatch.setenv("PYENV_ROOT", os.fspath(in_pyenv))

    fake_python(on_path)
    assert pythons.find_python() == on_path / "python3.11"

    fake_python(on_path, version="3.10")
    pyenv = in_pyenv / "versions" / "3.11.9" / "bin"
    fake_python(pyenv).rename(pyenv / "python")
    assert pythons.find_python() == pyenv / "python"

    (pyenv / "python").unlink()
    fetched = of_uv / "python3.11"
    uv = on_path / "uv"
    uv.write_text(
        f"#!/bin/sh\ncase $2 in\n"
        f"  find) test -e {fetched} && echo {fetched} ;;\n"
        f"  install) mkdir -p {of_uv} && cp {on_path}/kept {fetched} ;;\nesac\n"
    )
    uv.chmod(0o755)
    fake_python(tmp_path / "kept").rename(on_path / "kept")
    told = []
    assert pythons.find_python(say=told.append) == fetched
    assert told == ["fetching Python 3.11 with uv"]

    uv.unlink()
    with pytest.raises(pythons.NoPython, match="python3.11 .it is Python 3.10.*--python PATH"):
        pythons.find_python()


def test_a_named_python_must_be_one(tmp_path):
    with pytest.raises(pythons.NoPython, match="/nowhere .No such file"):
        pythons.find_python("/nowhere")
    with pytest.raises(pythons.NoPython, match="it is Python 3.13"):
        pythons.find_python(fake_python(tmp_path, version="3.13"))

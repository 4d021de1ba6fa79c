"""`import autokit` is instant, and its names are all there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import autokit

HEAVY = ("tensorflow", "keras", "sklearn", "numpy", "pandas", "rich", "matplotlib")


def test_import_loads_nothing_heavy_and_is_fast():
    # In a process of its own; the best of three, for the machine may be busy.
    code = (
        "import sys, time; begin = time.perf_counter(); import autokit; dir(autokit);"
        "print(time.perf_counter() - begin);"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    seconds = []
    for _ in range(3):
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        time, loaded = run.stdout.splitlines()
        assert loaded == "[]"
        seconds.append(float(time))
    assert min(seconds) < 0.2


def test_every_public_name_loads():
    for name in autokit.__all__:
        assert getattr(autokit, name) is not None
    assert set(autokit.__all__) <= set(dir(autokit))


def test_names_are_the_same_objects_as_in_their_modules():
    from autokit.nas import NASClassifier

    assert autokit.NASClassifier is NASClassifier
    assert autokit.deploy.export_tflite is autokit.export_tflite


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(AttributeError, match="no attribute 'NASClassifer'.*NASClassifier"):
        autokit.NASClassifer  # noqa: B018


def test_version_is_that_of_the_package():
    from importlib.metadata import version

    assert autokit.__version__ == version("autokit")

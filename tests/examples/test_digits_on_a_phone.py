"""The example runs, and the snippets beside it name the tensors of the file that it writes."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from autokit import TFLiteModel

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("digits", EXAMPLES / "digits_on_a_phone.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def file(example, tmp_path_factory):
    return TFLiteModel(example.main(tmp_path_factory.mktemp("phone"), epochs=2).path)


@pytest.mark.parametrize("name", ["Digits.kt", "Digits.swift"])
def test_snippets_name_the_tensors_of_the_file(example, file, name):
    text = (EXAMPLES / "phone" / name).read_text(encoding="utf-8")
    listed = re.findall(r"^// (\w+ (?:input|output) \w+: .*)$", text, re.M)
    assert sorted(listed) == sorted(example.tensor_lines(file))
    constants = dict(re.findall(r"^(?:const val|let) (\w+) = (\d+)$", text, re.M))
    signatures = file.metadata["signatures"]
    (rows,) = signatures["serve"]["inputs"]
    (embedding,) = signatures["embed"]["outputs"]
    (output,) = signatures["serve"]["outputs"]
    assert rows["shape"] == [None, int(constants["SIDE"]), int(constants["SIDE"])]
    assert embedding["shape"] == [None, int(constants["FEATURES"])]
    assert output["shape"] == [None, int(constants["CLASSES"])]
    for signature, sides in signatures.items():
        if signature == "serve":  # the snippets answer with the head that they keep
            continue
        assert f'"{signature}"' in text
        for tensor in sides["inputs"] + sides["outputs"]:
            assert f'"{tensor["name"]}"' in text


def test_the_example_tells_its_score(file):
    assert file.metadata["score"]["name"] == "accuracy"
    assert file.metadata["score"]["n_rows"] == 450

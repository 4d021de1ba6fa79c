from __future__ import annotations

import json
import zipfile

import flatbuffers
import pytest

from autokit import TFLiteModel
from autokit.deploy import flatbuffer, metadata


def test_any_zip_tool_reads_labels_and_description(table_file):
    with zipfile.ZipFile(table_file) as archive:
        assert archive.testzip() is None
        assert archive.read("labels.txt").decode() == "no\nyes\n"
        described = json.loads(archive.read("autokit.json"))
    assert described["task"] == "classification"
    assert described["classes"] == ["no", "yes"]
    assert described["inputs"] == ["numeric", "categorical"]
    assert [c["name"] for c in described["rows"]["columns"]] == ["small", "large", "year", "city"]
    assert metadata.read(table_file) == described


def test_standard_metadata_names_inputs_and_the_file_of_labels(table_file):
    model = flatbuffer.parse(table_file.read_bytes())
    entry = next(m for m in model.metadata if m.name == b"TFLITE_METADATA")
    data = bytes(model.buffers[entry.buffer].data)
    assert data[4:8] == b"M001"
    # read by slot numbers, as the schema's generated code does
    root = _table(data, int.from_bytes(data[:4], "little"))
    (graph,) = _tables(root, 3)
    assert [_text(tensor, 0) for tensor in _tables(graph, 2)] == ["numeric", "categorical"]
    (output,) = _tables(graph, 3)
    (labels,) = _tables(output, 6)
    assert _text(labels, 0) == "labels.txt"
    assert labels.Get(flatbuffers.number_types.Int8Flags, labels.Pos + labels.Offset(8)) == 2
    assert [_text(f, 0) for f in _tables(root, 6)] == ["autokit.json"]


def _table(data, position):
    return flatbuffers.table.Table(bytearray(data), position)


def _tables(table, slot):
    offset = table.Offset(4 + 2 * slot)
    start, n = table.Vector(offset), table.VectorLen(offset)
    return [_table(table.Bytes, table.Indirect(start + 4 * i)) for i in range(n)]


def _text(table, slot):
    return table.String(table.Pos + table.Offset(4 + 2 * slot)).decode()


@pytest.mark.parametrize("share", [0.0005, 0.3, 0.7, 0.99, 0.9999])
def test_truncated(table_file, tmp_path, share):
    data = table_file.read_bytes()
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match="cut.tflite") as info:
        TFLiteModel(cut)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9, 0.995])
def test_one_changed_bit(table_file, tmp_path, share):
    data = bytearray(table_file.read_bytes())
    data[int(share * len(data))] ^= 4
    changed = tmp_path / "changed.tflite"
    changed.write_bytes(data)
    with pytest.raises(ValueError, match="changed.tflite is truncated or corrupted"):
        TFLiteModel(changed)


def test_not_a_tflite_file(tmp_path):
    text = tmp_path / "text.tflite"
    text.write_text("no model")
    with pytest.raises(ValueError, match="text.tflite is not a .tflite file .*export_tflite"):
        TFLiteModel(text)
    with pytest.raises(FileNotFoundError):
        TFLiteModel(tmp_path / "absent.tflite")


def test_newer_format(table_file, tmp_path, monkeypatch):
    graph = metadata_free(table_file)
    monkeypatch.setattr(metadata, "FORMAT", metadata.FORMAT + 1)
    newer = tmp_path / "newer.tflite"
    newer.write_bytes(metadata.attach(graph, {"classes": None}))
    monkeypatch.undo()
    with pytest.raises(ValueError, match="newer.tflite has metadata of format 2.*upgrade autokit"):
        TFLiteModel(newer)


def metadata_free(path) -> bytes:
    """The graph of a file, as another tool would have written it."""
    model = flatbuffer.parse(path.read_bytes())
    model.metadata = None
    return flatbuffer.slim(flatbuffer.serialize(model))

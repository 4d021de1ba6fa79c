from __future__ import annotations

import json
import zipfile

import flatbuffers
import numpy as np
import pytest
from sklearn.metrics import r2_score

from autokit import TFLiteModel, export_tflite
from autokit.deploy import flatbuffer, metadata

from .conftest import mixed_table


def test_any_zip_tool_reads_labels_and_description(table_file):
    with zipfile.ZipFile(table_file) as archive:
        assert archive.testzip() is None
        assert archive.read("labels.txt").decode() == "no\nyes\n"
        described = json.loads(archive.read("autokit.json"))
    assert described["task"] == "classification"
    assert described["classes"] == ["no", "yes"]
    assert described["signatures"]["serve"] == {
        "inputs": [
            {"name": "numeric", "shape": [None, 3], "dtype": "float32"},
            {"name": "categorical", "shape": [None, 1], "dtype": "string"},
        ],
        "outputs": [{"name": "output", "shape": [None, 2], "dtype": "float32"}],
    }
    assert metadata.read(table_file) == described


def test_the_file_tells_the_normalisation_that_it_applies(table_file, table_classifier):
    rows = metadata.read(table_file)["rows"]
    assert rows["normalization"] == "inside the file: (value - mean) / scale"
    small, large, year, city = rows["columns"]
    assert [small["name"], large["name"], year["name"], city["name"]] == [
        "small",
        "large",
        "year",
        "city",
    ]
    assert small["indicator"] is True and large["indicator"] is False
    assert city["categories"] == ["Oslo", "Rome", "Zürich"]
    encoder = table_classifier.encoder_
    for column, mean, scale in zip(
        (small, large, year), encoder.mean_, encoder.scale_, strict=True
    ):
        assert column["mean"] == pytest.approx(mean, rel=1e-6)
        assert column["scale"] == pytest.approx(scale, rel=1e-6)


def test_score_and_target_are_kept(tmp_path, table_regressor):
    table, _ = mixed_table()
    y = np.column_stack([table["large"] * 3 + 1e6, table["small"].fillna(0)])
    path = tmp_path / "model.tflite"
    report = export_tflite(
        table_regressor, path, representative_data=table, representative_target=y
    )
    described = TFLiteModel(path).metadata
    expected = r2_score(y, TFLiteModel(path).predict(table))
    assert described["score"] == {"name": "r2", "value": report.score.value, "n_rows": len(table)}
    assert report.score.value == pytest.approx(expected, abs=1e-6)
    assert report.size_bytes == path.stat().st_size
    np.testing.assert_allclose(described["target"]["mean"], y.mean(axis=0), rtol=1e-6)
    standard = _standard(path)
    assert f"r2 {report.score.value:.4f} on 240 rows" in _text(standard, 1)
    with pytest.raises(ValueError, match="representative_target needs representative_data"):
        export_tflite(table_regressor, tmp_path / "other.tflite", representative_target=y)
    with pytest.raises(ValueError, match="representative_target has 3 targets for 240 rows"):
        export_tflite(
            table_regressor,
            tmp_path / "other.tflite",
            representative_data=table,
            representative_target=y[:3],
        )
    assert [p.name for p in tmp_path.iterdir()] == ["model.tflite"]


def test_standard_metadata_names_inputs_and_the_file_of_labels(table_file):
    root = _standard(table_file)
    (graph,) = _tables(root, 3)
    numeric, categorical = _tables(graph, 2)
    assert (_text(numeric, 0), _text(categorical, 0)) == ("numeric", "categorical")
    assert _text(numeric, 1) == (
        "raw values of the columns small, large, year; NaN where missing; normalised inside the "
        "file"
    )
    assert _text(categorical, 1) == "texts of the columns city; empty where missing"
    # NormalizationOptions: nothing is left to do outside
    (unit,) = _tables(numeric, 4)
    options = _table(unit.Bytes, unit.Indirect(unit.Pos + unit.Offset(6)))
    assert [_float(options, slot) for slot in (0, 1)] == [0.0, 1.0]
    (output,) = _tables(graph, 3)
    (labels,) = _tables(output, 6)
    assert _text(output, 1) == "probability of each label"
    assert _text(labels, 0) == "labels.txt"
    assert labels.Get(flatbuffers.number_types.Int8Flags, labels.Pos + labels.Offset(8)) == 2
    assert [_text(f, 0) for f in _tables(root, 6)] == ["autokit.json"]


def _standard(path):
    """The root of the standard metadata, read by slot numbers as the schema's code does."""
    model = flatbuffer.parse(path.read_bytes())
    entry = next(m for m in model.metadata if m.name == b"TFLITE_METADATA")
    data = bytes(model.buffers[entry.buffer].data)
    assert data[4:8] == b"M001"
    return _table(data, int.from_bytes(data[:4], "little"))


def _float(table, slot):
    """The one number of a vector."""
    start = table.Vector(table.Offset(4 + 2 * slot))
    assert table.VectorLen(table.Offset(4 + 2 * slot)) == 1
    return table.Get(flatbuffers.number_types.Float32Flags, start)


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

import csv
import json

import numpy as np
import pytest

from autokit.nas import MLPSpace
from autokit.nas.hardware import read_latencies, record_latencies
from autokit.nas.spaces import NB201Architecture, NB201Space


def test_what_is_recorded_can_be_read(tmp_path):
    told, space = [], MLPSpace(widths=(8, 16), max_depth=2)
    path = record_latencies(
        space,
        tmp_path / "here.csv",
        (4,),
        3,
        n=3,
        device=lambda file: float(file.stat().st_size) / 1000,
        on_measured=lambda i, architecture, ms: told.append((i, architecture, ms)),
    )
    architectures, ms = read_latencies(path, space)
    assert architectures == [architecture for _, architecture, _ in told]
    assert len(set(architectures)) == 3
    with path.open() as file:
        sizes = [int(row["size_bytes"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(ms, np.array(sizes) / 1000, rtol=1e-5)
    assert min(sizes) > 1000
    assert [p.name for p in tmp_path.iterdir()] == ["here.csv"]


def test_a_table_of_cells_is_read_by_their_names(tmp_path):
    # three rows of HELP's table (MIT licence)
    cells = [
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+"
        "|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+"
        "|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
    ]
    path = tmp_path / "phone.csv"
    path.write_text(f"arch_str,pixel3\n{cells[0]},3.6058\n{cells[1]},17.2381\n{cells[1]},\n")
    architectures, ms = read_latencies(path, NB201Space(), column="pixel3")
    assert architectures == [NB201Architecture.from_arch_str(cell) for cell in cells]
    assert ms.tolist() == [3.6058, 17.2381]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,latency_ms\n1,2\n", r"lacks the column architecture \(or arch_str\); it has model"),
        ("architecture,ms\n1,2\n", "lacks the column latency_ms"),
        ("ms\n1\n", r"lacks the column architecture \(or arch_str\) and latency_ms"),
        ("", "lacks .* it has none"),
        ("architecture,latency_ms\n", "holds no measurements"),
        ("architecture,latency_ms\nx,2\n", "measurement 1 of .* is none of MLPSpace"),
        ('architecture,latency_ms\n"{""depth"": 3}",2\n', "measurement 1 of .* is none of"),
    ],
)
def test_tables_of_no_use_are_refused(text, message, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_latencies(path, MLPSpace())


def test_times_are_positive_numbers(tmp_path):
    from autokit.nas.architecture import to_json

    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["architecture", "latency_ms"])
        writer.writerow([json.dumps(to_json(MLPSpace().default)), "-1"])
    with pytest.raises(ValueError, match="must be a positive number, got -1"):
        read_latencies(path, MLPSpace())


def test_bad_arguments_are_refused_before_anything_is_measured(tmp_path):
    with pytest.raises(ValueError, match="n must be at least 1"):
        record_latencies(MLPSpace(), tmp_path / "a.csv", (4,), 3, n=0)
    with pytest.raises(FileNotFoundError, match="folder"):
        record_latencies(MLPSpace(), tmp_path / "none" / "a.csv", (4,), 3)
    with pytest.raises(ValueError, match="images from 8x8 up|images"):
        record_latencies(NB201Space(), tmp_path / "a.csv", (4,), 3)
    assert not list(tmp_path.iterdir())

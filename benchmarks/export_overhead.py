"""What does it cost that conversion runs in a process of its own?

The same SavedModel is converted by a job of the worker process and by the same function within
this process, in turns. `value` is the time in seconds: the median after a warm-up. `first` is the
very first job, while the worker loads TensorFlow.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import record


def networks():
    """Name -> an image classifier for digits."""
    from autokit import layers

    return {
        "mlp": layers.mlp((8, 8), 10, output_activation="softmax"),
        "cnn": layers.cnn((8, 8), 10, output_activation="softmax"),
    }


def main():
    options = record.arguments(__doc__, seeds=3, rounds=5)
    started = time.perf_counter()
    from autokit.deploy import quantizers
    from autokit.deploy.convert import Conversion, _write_inputs, trace
    from autokit.deploy.isolation import Job
    from autokit.deploy.quiet import quiet
    from autokit.deploy.subject import subject_of

    loading_s = time.perf_counter() - started
    rows = {"rows": np.random.default_rng(0).normal(size=(100, 8, 8)).astype(np.float32)}
    lines, first = [], None
    for data, model in networks().items():
        part = subject_of(model).whole(model)
        for quantization in (None, "int8"):
            with tempfile.TemporaryDirectory() as folder:
                conversion = Conversion(trace(part), part.variables, quantization, rows)
                _write_inputs(Path(folder), conversion)

                def subprocess(folder=folder, quantization=quantization):
                    request = {"job": "convert", "folder": folder, "quantization": quantization}
                    with Job(request) as job:
                        job.wait()

                def in_process(folder=folder, quantization=quantization):
                    with quiet():
                        quantizers.convert(Path(folder), quantization)

                calls = {"subprocess": subprocess, "in process": in_process}
                started = time.perf_counter()
                subprocess()
                first = first or time.perf_counter() - started
                in_process()
                for seed in range(options.seeds):
                    times = {name: [] for name in calls}
                    for i in range(options.rounds):
                        for name in random.Random(i + seed).sample(list(calls), 2):
                            started = time.perf_counter()
                            calls[name]()
                            times[name].append(time.perf_counter() - started)
                    kind = f"{data} {quantization or 'float32'}"
                    for name, seconds in times.items():
                        value = statistics.median(seconds)
                        lines.append(record.write("export_overhead", name, kind, seed, value))
    lines.append(record.write("export_overhead", "first job", "all", 0, first))
    print(record.table(lines, {"value": 2}))
    for kind in dict.fromkeys(line["data"] for line in lines[:-1]):
        mean = {
            name: statistics.fmean(
                r["value"] for r in lines if (r["data"], r["method"]) == (kind, name)
            )
            for name in ("subprocess", "in process")
        }
        print(f"{kind}: {mean['subprocess'] - mean['in process']:+.2f} s for the process")
    print(f"first job: {first:.1f} s (loading TensorFlow here took {loading_s:.1f} s)")


if __name__ == "__main__":
    main()

"""How small is the int8 file of the network that the search found, and how exact?

`value` is the int8 file's size by the float file's. The rest of a file beyond its weights is the
graph: operators, tensor names, shapes and quantisation parameters, and the metadata.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import record
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def main():
    options = record.arguments(__doc__, seeds=3, budget=60.0)
    from autokit import NASClassifier
    from autokit.deploy import TFLiteModel, export_tflite

    digits = load_digits()
    X_train, X_test, y_train, y_test = train_test_split(
        digits.images, digits.target, stratify=digits.target, random_state=0
    )
    lines = []
    for seed in range(options.seeds):
        model = NASClassifier(time_budget_s=options.budget, random_state=seed).fit(X_train, y_train)
        files = {}
        with tempfile.TemporaryDirectory() as folder:
            for quantization in (None, "float16", "dynamic", "int8"):
                path = Path(folder) / f"{quantization}.tflite"
                report = export_tflite(
                    model, path, quantization=quantization, representative_data=X_train
                )
                score = float((TFLiteModel(path).predict(X_test) == y_test).mean())
                files[quantization] = (report, score)
        float_report, float_score = files[None]
        for quantization, (report, score) in files.items():
            lines.append(
                record.write(
                    "int8_size",
                    quantization or "float32",
                    "digits",
                    seed,
                    report.size_bytes / float_report.size_bytes,
                    size_kb=report.size_bytes / 1000,
                    weights_kb=4 * model.model_.count_params() / 1000,
                    accuracy=score,
                    points_lost=100 * (float_score - score),
                    agreement=report.agreement,
                )
            )
    columns = {"value": 3, "size_kb": 1, "weights_kb": 1, "accuracy": 4, "points_lost": 2}
    print(record.table(lines, columns))


if __name__ == "__main__":
    main()

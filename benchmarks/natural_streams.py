"""Streams as they come: speaker after speaker, age after age, region after region.

spoken digits: six speakers one after the other, ten digits, log-mel frames of each clip (the
official test clips). adult: four age groups, income (the official test rows). california: four
regions by distance to the ocean, house value (a quarter held out). One head (the domain scenario),
500 rows of memory, default networks. `value` is the mean accuracy (R2) over all experiences after
the last one; `forgotten` is what was lost on earlier ones since they were learnt.
"""

from __future__ import annotations

import json
import sys
import warnings
from statistics import fmean

import numpy as np
import pandas as pd
import record
from sklearn.model_selection import train_test_split

QUESTION = "natural_streams"
METHODS = ("naive", "ewc", "si", "lwf", "agem", "replay", "der++", "joint")
EPOCHS = {"spoken digits": 20, "adult": 5, "california": 15}


def mel_frames(audio: np.ndarray, n_frames: int = 32, n_mel: int = 20) -> np.ndarray:
    """Log-mel energies of a clip at 8 kHz, stretched to a number of frames."""
    window, hop = 256, 80
    if len(audio) < window:
        audio = np.pad(audio, (0, window - len(audio)))
    starts = np.arange(0, len(audio) - window + 1, hop)
    frames = audio[starts[:, None] + np.arange(window)] * np.hanning(window)
    power = np.abs(np.fft.rfft(frames)) ** 2
    mel = np.linspace(0, 2595 * np.log10(1 + 4000 / 700), n_mel + 2)
    edges = (700 * (10 ** (mel / 2595) - 1)) / 4000 * (window // 2)
    bins = np.arange(power.shape[1])
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    energies = np.log(power @ np.maximum(0, np.minimum(rise, fall)).T + 1e-3)
    places = np.linspace(0, len(energies) - 1, n_frames)
    low = np.floor(places).astype(int)
    share = (places - low)[:, None]
    high = np.minimum(low + 1, len(energies) - 1)
    return ((1 - share) * energies[low] + share * energies[high]).astype("float32")


def spoken_digits(folder):
    """Clips by speaker."""
    path = record.data_file(folder, "audio/fsdd.npz")
    if path is None:
        return None
    with np.load(path) as file:
        audio, ends = file["audio"] / 32768, file["offsets"]
        digit, speaker, take = file["digit"], file["speaker"], file["take"]
    x = np.stack([mel_frames(audio[a:b]) for a, b in zip(ends[:-1], ends[1:], strict=True)])
    test = take < 5
    return [
        (x[one & ~test], digit[one & ~test], x[one & test], digit[one & test])
        for one in (speaker == name for name in np.unique(speaker))
    ]


def adult(folder):
    """Rows by age group."""
    path = record.data_file(folder, "tabular/adult.csv.gz")
    if path is None:
        return None
    table = pd.read_csv(path)
    group = np.digitize(table["age"], [30, 40, 50])
    test = (table.pop("split") == "test").to_numpy()
    income = table.pop("income").to_numpy()
    return [
        (table[one & ~test], income[one & ~test], table[one & test], income[one & test])
        for one in (group == k for k in range(4))
    ]


def california(folder):
    """Rows by distance to the ocean."""
    path = record.data_file(folder, "tabular/california_housing.csv.gz")
    if path is None:
        return None
    table = pd.read_csv(path)
    region = table.pop("ocean_proximity").to_numpy()
    value = table.pop("median_house_value").to_numpy(float)
    parts = []
    for name in ("INLAND", "<1H OCEAN", "NEAR OCEAN", "NEAR BAY"):
        one = region == name
        x, x_test, y, y_test = train_test_split(table[one], value[one], random_state=0)
        parts.append((x, y, x_test, y_test))
    return parts


STREAMS = {"spoken digits": spoken_digits, "adult": adult, "california": california}


def run(name: str, tasks, method: str, seed: int) -> dict:
    """Learn the stream, with the score on each part after each experience."""
    from autokit import ContinualModel, ContinualRegressor

    kind = ContinualRegressor if name == "california" else ContinualModel
    model = kind(
        strategy=method,
        scenario="domain",
        memory_size=500,
        epochs=EPOCHS[name],
        validation_fraction=0,
        random_state=seed,
    )
    scores = []
    with record.measured() as cost:
        for x, y, _, _ in tasks:
            model.partial_fit(x, y)
            scores.append([model.score(x_test, y_test) for _, _, x_test, y_test in tasks])
    last = scores[-1]
    forgotten = [scores[k][k] - last[k] for k in range(len(tasks) - 1)]
    return {
        "value": fmean(last),
        "forgotten": fmean(forgotten),
        "scores": scores,
        "state_kib": model.state_size_bytes_ / 1024,
        **cost,
    }


def main() -> None:
    given = record.arguments(__doc__, methods="", streams="", first=0)
    methods = [m.strip() for m in given.methods.split(";") if m] or METHODS
    streams = [s.strip() for s in given.streams.split(";") if s] or STREAMS
    warnings.simplefilter("ignore")
    done = {(r["method"], r["data"], r["seed"]) for r in record.read(QUESTION)}
    for name in streams:
        tasks = STREAMS[name](given.data)
        if tasks is None:
            sys.exit(1)
        for seed in range(given.first, given.first + given.seeds):
            for method in methods:
                if (method, name, seed) in done or (name == "california" and method == "der++"):
                    continue
                result = run(name, tasks, method, seed)
                record.write(QUESTION, method, name, seed, **result)
                shown = {k: round(result[k], 4) for k in ("value", "forgotten", "cpu_seconds")}
                print(name, method, seed, json.dumps(shown), flush=True)


if __name__ == "__main__":
    main()

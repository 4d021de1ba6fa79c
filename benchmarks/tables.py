"""Make the README's tables from ``benchmarks/results``: ``python benchmarks/tables.py``.

What stands between ``<!-- benchmark: QUESTION -->`` and ``<!-- end -->`` is replaced by the newest
result of every method, data set and seed.
"""

from __future__ import annotations

import re
from pathlib import Path

import record

README = Path(__file__).parent.parent / "README.md"
COLUMNS = {
    "import_time": {"value": ("seconds", 4)},
    "predict_latency": {"value": ("microseconds", 0)},
    "fit_speed": {"value": ("accuracy", 4), "cpu_seconds": ("CPU seconds", 2)},
    "nas_digits": {"value": ("accuracy", 4), "seconds": ("seconds", 1), "trials": ("trials", 1)},
    "zero_cost": {
        "value": ("Spearman", 3),
        "low": ("from", 3),
        "high": ("to", 3),
        "above_n_params": ("share above n_params", 3),
        "cpu_seconds": ("CPU seconds", 2),
    },
    "oneshot": {
        "value": ("accuracy", 4),
        "points": ("points above the mean of random", 2),
        "skip_share": ("share of skips", 2),
        "n_params": ("weights", 0),
        "cpu_seconds": ("CPU seconds", 0),
    },
    "oneshot_cost": {
        "value": ("step, of a fixed network's", 1),
        "memory": ("memory, of a fixed network's", 1),
        "step_ms": ("ms", 0),
    },
    "nas_speed": {
        "value": ("trials a minute", 1),
        "cpu_seconds": ("CPU seconds", 1),
        "best": ("best score", 4),
    },
    "nas_replay": {
        "value": ("test accuracy, %", 2),
        "best_seen": ("best validation seen, %", 2),
        "cpu_ms_per_query": ("CPU ms a query", 1),
    },
    "pareto": {
        "value": ("of the true hypervolume", 3),
        "worst": ("from the worst accuracy", 3),
        "cpu_ms_per_query": ("CPU ms a query", 1),
    },
    "split_mnist": {
        "value": ("accuracy", 4),
        "state_mib": ("MiB kept", 2),
        "cpu_seconds": ("CPU seconds", 0),
    },
    "continual_speed": {
        "value": ("steps a CPU second, or times the cost", 2),
        "state_kib": ("KiB kept", 0),
    },
    "natural_streams": {
        "value": ("accuracy or R2", 4),
        "forgotten": ("forgotten", 4),
        "cpu_seconds": ("CPU seconds", 1),
    },
    "tuning_quality": {"value": ("best score", 4), "cpu_seconds": ("CPU seconds", 0)},
    "tuning_rank": {
        "value": ("mean rank", 2),
        "mean": ("mean score", 4),
        "against_random": ("above random", 4),
        "p": ("p (Wilcoxon)", 3),
    },
    "tuning_speed": {
        "value": ("trials a minute", 1),
        "cpu_seconds": ("CPU seconds", 1),
        "best": ("best score", 4),
    },
    "tuning_pruning": {
        "value": ("share of epochs saved", 3),
        "best": ("best score", 4),
        "test": ("held-out accuracy", 4),
        "cpu_seconds": ("CPU seconds", 1),
    },
    "tuning_memory": {"value": ("growth after trial 40", 3)},
    "tuning_kills": {
        "value": ("trials lost", 0),
        "trials": ("trials", 0),
        "same_as_whole": ("the uninterrupted table", 0),
    },
    "omniglot": {
        "value": ("accuracy", 4),
        "half_width": ("95 % interval, ±", 4),
        "episodes": ("episodes", 0),
        "cpu_seconds": ("CPU seconds", 0),
    },
    "few_shot_data": {
        "value": ("accuracy, or squared error", 4),
        "half_width": ("95 % interval, ±", 4),
        "episodes": ("episodes", 0),
        "cpu_seconds": ("CPU seconds", 1),
    },
    "few_shot_speed": {
        "value": ("tasks a CPU second", 1),
        "times_torch": ("of PyTorch's", 2),
    },
    "few_shot_memory": {
        "value": ("growth", 4),
        "grown_mib": ("MiB grown", 1),
        "last_mib": ("MiB in the end", 0),
    },
    "few_shot_kills": {
        "value": ("kills with another result", 0),
        "same_in_the_end": ("the uninterrupted result", 0),
        "lost": ("most tasks lost by a kill", 0),
        "epoch": ("tasks between two writes", 0),
    },
    "search_memory": {"value": ("growth after trial 10", 3), "growth_from_first": ("in all", 3)},
    "search_kills": {"value": ("trials lost", 0), "trials": ("trials", 0)},
    "int8_size": {
        "value": ("of the float file", 3),
        "size_kb": ("kB", 1),
        "accuracy": ("accuracy", 4),
    },
    "pruning": {
        "value": ("accuracy", 4),
        "points_lost": ("points lost", 2),
        "zipped_kb": ("zipped kB", 1),
        "cpu_seconds": ("CPU seconds", 1),
    },
    "smallest_files": {
        "value": ("accuracy", 4),
        "keras_accuracy": ("before", 4),
        "size_kb": ("kB", 1),
        "zipped_kb": ("zipped kB", 1),
        "seconds": ("seconds of compress", 0),
    },
    "export_overhead": {"value": ("seconds", 2)},
    "latency_predictor": {
        "value": ("rank correlation", 3),
        "rmse_ms": ("error, ms", 2),
        "claimed_ms": ("error it claims, ms", 2),
    },
    "constrained": {
        "value": ("accuracy", 2),
        "points_lost": ("points below the best within the limit", 2),
        "violations": ("limits broken", 2),
        "walked": ("networks measured", 1),
    },
    "saliency_curve": {"value": ("accuracy", 4)},
    "quantization": {
        "value": ("accuracy", 4),
        "size": ("of the float file", 3),
        "size_kb": ("kB", 1),
        "points_lost": ("points lost", 2),
        "seconds": ("seconds of training", 1),
    },
    "federated_speed": {
        "value": ("CPU seconds a round", 4),
        "ratio": ("times as fast as the loop", 1),
    },
    "federated_scale": {
        "value": ("CPU ms a client and round", 3),
        "grown_mib": ("MiB grown after the first round", 1),
        "peak_mib": ("MiB more than before", 1),
    },
    "federated_mnist": {
        "value": ("rounds", 0),
        "published": ("published", 0),
        "cpu_seconds": ("CPU seconds", 0),
    },
    "federated_attacks": {"value": ("accuracy", 4), "cpu_seconds": ("CPU seconds", 1)},
    "dp_mnist": {
        "value": ("accuracy", 4),
        "epsilon": ("epsilon", 2),
        "advantage": ("attacker's advantage", 3),
        "seconds_per_epoch": ("CPU seconds an epoch", 1),
    },
    "dp_cost": {
        "value": ("times the CPU of a plain epoch", 1),
        "seconds_per_epoch": ("CPU seconds an epoch", 1),
    },
    "natural_clients": {
        "value": ("accuracy", 4),
        "worst": ("of the worst tenth", 4),
        "cpu_seconds": ("CPU seconds", 0),
    },
}
SLOT = re.compile(r"(<!-- benchmark: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table_of(question: str) -> str:
    """The Markdown table of one question."""
    columns = COLUMNS[question]
    lines = record.latest(record.read(question))
    if not lines:
        return f"(no results yet: run `python benchmarks/{question}.py`)"
    text = record.table(lines, {key: digits for key, (_, digits) in columns.items()})
    head, *rows = text.splitlines()
    names = ["data", "method", *(name for name, _ in columns.values()), "seeds"]
    return "\n".join(["| " + " | ".join(names) + " |", *rows])


def main():
    text = README.read_text()
    README.write_text(SLOT.sub(lambda m: m[1] + table_of(m[2]) + "\n" + m[3], text))


if __name__ == "__main__":
    main()

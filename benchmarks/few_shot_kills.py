"""Does a meta-training that is killed end with the same weights, and how much is lost by a kill?

A training with `storage` runs in a process that is killed (SIGKILL) at a random moment and started
again, five times for each method. Each kill's file is also copied and, in the end, trained on to
its end without another kill. `value` is the number of kills after which the weights or the history
are not, bit for bit, those of a training that was never interrupted; the last result of all is
compared too.
`lost` is the most tasks that were done and reported but had to be done again, `epoch` the tasks
between two writes: a kill loses no more than what is underway and not yet written.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import threading
from pathlib import Path

import record

QUESTION = "few_shot_kills"
METHODS = {
    "prototypical": {"n_episodes": 2500},
    "meta_sgd": {"n_episodes": 5000, "meta_batch_size": 2},
}


class Told(logging.Handler):
    """Sends the number of tasks done after each epoch, which the library logs."""

    def __init__(self, pipe):
        super().__init__()
        self.pipe = pipe

    def emit(self, log_record):
        self.pipe.send(log_record.args[0])


def train(method: str, path=None) -> str:
    """What a training ends with, as a hash."""
    from sklearn.datasets import load_digits

    from autokit import FewShotLearner

    X, y = load_digits(return_X_y=True)
    learner = FewShotLearner(
        method, inner_learning_rate=0.1, random_state=0, storage=path, **METHODS[method]
    ).fit(X, y)
    content = hashlib.sha256(json.dumps(learner.history_).encode())
    for weights in learner.model_.get_weights():
        content.update(weights.tobytes())
    return content.hexdigest()


def process(method, path, pipe):
    """Train in a process of its own; the pipe gets the epochs, then the hash."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    log = logging.getLogger("autokit.meta")
    log.addHandler(Told(pipe))
    log.setLevel(logging.INFO)
    pipe.send({"hash": train(method, path)})


def kill(one):
    """Kill the process unless it has ended."""
    if one.is_alive():
        os.kill(one.pid, signal.SIGKILL)


def run(method, path, delay):
    """Tasks reported, in order, and the hash if the process came to its end.

    The clock of the kill starts with the first report.
    """
    context = multiprocessing.get_context("spawn")
    pipe, sender = context.Pipe(duplex=False)
    one = context.Process(target=process, args=(method, path, sender))
    one.start()
    sender.close()
    reports, found = [], None
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            break
        if delay is not None and isinstance(message, int):
            threading.Timer(delay, kill, args=(one,)).start()
            delay = None
        if isinstance(message, dict):
            found = message["hash"]
        elif isinstance(message, int):
            reports.append(message)
    one.join()
    if one.exitcode not in (0, -signal.SIGKILL):
        raise SystemExit(f"the training failed: {one.exitcode}")
    return reports, found


def killed(method, folder: Path, n_kills: int, longest: float, rng):
    """Files after each kill, most tasks lost, and the hash in the end."""
    path, copies, lost, last = folder / "training", [], 0, 0
    found = None
    while found is None:
        delay = rng.uniform(0.0, longest) if len(copies) < n_kills else None
        reports, found = run(method, path, delay)
        epoch = 100 * METHODS[method].get("meta_batch_size", 1)
        if reports:
            lost = max(lost, last - (reports[0] - epoch))
            last = reports[-1]
        if found is None:
            copies.append(folder / f"after kill {len(copies) + 1}")
            if path.exists():
                shutil.copy(path, copies[-1])
            print(f"{method}: kill {len(copies)} after {last} tasks", flush=True)
    return copies, lost, found, epoch


def main():
    options = record.arguments(__doc__, seeds=1, kills=5, longest=1.0)
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    lines = []
    for seed in range(options.seeds):
        for method in METHODS:
            with tempfile.TemporaryDirectory() as name, record.measured() as cost:
                copies, lost, found, epoch = killed(
                    method, Path(name), options.kills, options.longest, random.Random(seed)
                )
                whole = train(method)
                differed = sum(train(method, copy) != whole for copy in copies)
            line = record.write(
                QUESTION, method, f"{len(copies)} kills", seed, differed + (found != whole),
                lost=lost, epoch=epoch, same_in_the_end=float(found == whole),
                seconds=cost["seconds"],
            )  # fmt: skip
            lines.append(line)
    columns = {"value": 0, "same_in_the_end": 0, "lost": 0, "epoch": 0, "seconds": 0}
    print(record.table(lines, columns))


if __name__ == "__main__":
    main()

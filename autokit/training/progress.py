"""A progress bar over epochs."""

from __future__ import annotations

from autokit._backend import keras


class EpochProgress(keras.callbacks.Callback):
    """Show epochs, their logs and the time left on the terminal (rich)."""

    def on_train_begin(self, logs=None):
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self._task = self._bar.add_task("", total=self.params["epochs"])
        self._bar.start()

    def on_epoch_end(self, epoch, logs=None):
        text = "  ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        self._bar.update(self._task, completed=epoch + 1, description=text)

    def on_train_end(self, logs=None):
        self._bar.stop()

"""The apps that a run names to Flower: whoever else executes them is told what to do instead."""

from __future__ import annotations

from autokit.federated.engines.flower.installed import require_flower

require_flower()

from flwr.app import Context, Message  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402
from flwr.serverapp import Grid, ServerApp  # noqa: E402

client, server = ClientApp(), ServerApp()


@client.query("setup")
def _setup(message: Message, context: Context) -> Message:
    raise RuntimeError("clients of autokit join by `autokit federated join`")


@server.main()
def _main(grid: Grid, context: Context) -> None:
    raise RuntimeError("rounds of autokit are driven by `autokit federated serve`")

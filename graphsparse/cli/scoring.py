"""What the commands that score connections begin with: the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from graphsparse.capture import Network
from graphsparse.cli.groups import NetworkOptions
from graphsparse.errors import ModelError
from graphsparse.networks.filling import bytes_to_run, size, with_weights
from graphsparse.pruning.methods import METHODS, method_named


def network(checkpoint: Path, given: NetworkOptions, *, methods: Sequence[str]) -> Network:
    """Load a checkpoint's network for the methods that are to score it. Errors as `load_network` and `with_weights`.

    A transformers folder's model is built without weights; they are loaded where a method runs the model.
    """
    loaded = given.network(checkpoint)
    running = [method for method in methods if METHODS[method_named(method)].runs_model]
    if loaded.is_meta and running:
        loaded = with_weights(loaded)
        note = f"{running[0]} runs the model: its weights were loaded, which takes about {size(bytes_to_run(loaded))}."
        loaded = replace(loaded, notes=(*loaded.notes, note))
    elif loaded.is_meta and not loaded.weights:
        raise ModelError(
            "scores must be computed from weights", place=str(checkpoint), received="masks alone",
            way_out="name a checkpoint with weights",
        )  # fmt: skip
    return loaded

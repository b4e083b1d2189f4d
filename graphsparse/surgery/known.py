"""A folder's network that was captured before: without transformers, without torch.export, by what is kept on disk."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graphsparse import graph_store
from graphsparse.checkpoints import OpenCheckpoint, Part
from graphsparse.checkpoints.content import look_into
from graphsparse.checkpoints.forms import Reading
from graphsparse.checkpoints.reading import opened
from graphsparse.graph import LayeredGraph
from graphsparse.surgery.loading import Loaded
from graphsparse.surgery.models import parameters_of
from graphsparse.surgery.translation import translation

CONFIG = "config.json"
LARGEST = 1 << 24  # bytes of a config.json; larger ones are refused elsewhere
LIBRARIES = ("torch", "transformers", "numpy")


@dataclass(frozen=True, eq=False)
class Known:
    """A graph that was captured before, and a model of the same names and shapes, which computes nothing."""

    graph: LayeredGraph
    model: nn.Module


def key_of(folder: Any, source: Any, part: Part, options: Mapping[str, Any]) -> str | None:
    """The key of a folder's graph: by its configuration, the names and shapes of the tensors, options and versions.

    None where there is none: the configuration cannot be read.
    """
    try:
        with Path(folder, CONFIG).open("rb") as file:
            config = file.read(LARGEST)
    except OSError:
        return None
    tensors = look_into(opened(source), part).tensors
    names = sorted((name, tuple(tensor.shape), str(tensor.dtype)) for name, tensor in tensors.items())
    digests = [sha256(text).hexdigest() for text in (config, repr(names).encode())]
    return graph_store.key_of(
        digests, part, sorted(options.items()), [_version(name) for name in LIBRARIES], sys.version
    )


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


def network_and_graph(
    key: str | None,
    load: Callable[..., Loaded],
    opening: Callable[..., OpenCheckpoint],
    options: Mapping[str, Any],
) -> tuple[Loaded, LayeredGraph]:
    """A folder's network and its graph: with what is kept under the key, else captured, and kept where that can be.

    A network some of whose uses of a shared parameter are masked further than others is captured: its graph has more
    blocks than the names and shapes say.
    """
    kept = None if key is None else find(key)
    if kept is not None:
        network = load(stand_in=kept.model)
        if not network.uses:
            return network, network.masked(kept.graph)
    network = load()
    graph = network.graph(**options)
    if key is not None and kept is None and network.is_meta and isinstance(network.model, nn.Module) and not graph.uses:
        watched = Watched(translation(network.model))
        opening(parameters=parameters_of(network.model), translate=watched)
        if not watched.changed:
            keep(key, graph, network.model)
    return network, graph


def find(key: str) -> Known | None:
    """What is kept under a key, if it is whole."""
    kept = graph_store.find(key)
    if kept is None:
        return None
    graph, about = kept
    try:
        return Known(graph, _stand_in(about["parameters"], about["buffers"]))
    except (KeyError, TypeError, ValueError, RuntimeError):  # another program's file
        return None


def keep(key: str, graph: LayeredGraph, model: nn.Module) -> None:
    """Keep a graph, and the names and shapes of its model."""
    first: dict[int, str] = {}
    parameters = [
        (name, tuple(each.shape), str(each.dtype).removeprefix("torch."), first.setdefault(id(each), name))
        for name, each in model.named_parameters(remove_duplicate=False)
    ]
    own = {name for name, *_ in parameters}
    buffers = [(name, tuple(each.shape)) for name, each in model.state_dict().items() if name not in own]
    graph_store.keep(key, graph, {"parameters": parameters, "buffers": buffers})


class Watched:
    """A translation of a file's tensors that says whether it left all as they are: then reading needs no model for it."""

    def __init__(self, translate: Callable[[Reading], Reading] | None):
        self.translate, self.changed = translate, False

    def __call__(self, reading: Reading) -> Reading:
        """What the translation makes of the tensors."""
        result = reading if self.translate is None else self.translate(reading)
        for before, after in ((reading.entries, result.entries), (reading.others, result.others)):
            same = before.keys() == after.keys() and all(after[name] is each for name, each in before.items())
            self.changed |= not same
        return result


def _stand_in(parameters: Iterable[Any], buffers: Iterable[Any]) -> nn.Module:
    """Modules with these parameters and buffers, on the meta device; a parameter that is tied is one."""
    root, made = nn.Module(), dict[str, nn.Parameter]()
    for name, shape, kind, first in parameters:
        if first == name:
            dtype = getattr(torch, kind)
            made[name] = nn.Parameter(torch.empty(shape, dtype=dtype, device="meta"), requires_grad=False)
        place, leaf = _module(root, name)
        place.register_parameter(leaf, made[first])
    for name, shape in buffers:
        place, leaf = _module(root, name)
        place.register_buffer(leaf, torch.empty(shape, device="meta"))
    return root


def _module(root: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that holds what goes by a name, made where it is not there, and the last part of the name."""
    *path, leaf = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    return root, leaf

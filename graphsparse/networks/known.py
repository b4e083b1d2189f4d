"""A folder's network that was captured before, made of what is kept on disk, without transformers and torch.export."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from graphsparse import graph_store
from graphsparse.capture.network import Structure
from graphsparse.checkpoints import Part
from graphsparse.checkpoints.checks import DTYPES
from graphsparse.checkpoints.content import look_into
from graphsparse.checkpoints.forms import Reading
from graphsparse.checkpoints.opening import opened
from graphsparse.graph import LayeredGraph
from graphsparse.graph_file import Json
from graphsparse.networks.configuration import CONFIG, LARGEST
from graphsparse.networks.models import holder
from graphsparse.networks.pretrained import Beside

KINDS = {str(kind).removeprefix("torch."): kind for kind in DTYPES}
LIBRARIES = ("torch", "transformers", "numpy")
EMPTY = LayeredGraph(layers=(), sources=np.empty(0, np.int32), sinks=np.empty(0, np.int32), shapes={})
"""The graph of the file that holds the names and shapes of a model. The model's own graphs have files of their own, one
for each way to read it."""


@dataclass(frozen=True, eq=False)
class Known:
    """What is kept of one folder's network: only names, numbers and arrays of numbers; nothing that is run.

    ``about`` are the names and shapes of its model, or None where they are not kept yet. ``most``: how many modules,
    parameters and buffers the model may have.
    """

    key: str
    about: Json | None = None
    most: int = 0

    def stand_in(self) -> nn.Module | None:
        """A model of the same names and shapes, which computes nothing; None where none is kept."""
        try:
            return None if self.about is None else _stand_in(self.about["parameters"], self.about["buffers"], self.most)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError):  # another program's file
            return None

    def of_model(self, model: nn.Module) -> Known:
        """The same for a model that was built now."""
        first: dict[int, str] = {}
        parameters = [
            (name, tuple(each.shape), str(each.dtype).removeprefix("torch."), first.setdefault(id(each), name))
            for name, each in model.named_parameters(remove_duplicate=False)
        ]
        own = {name for name, *_ in parameters}
        buffers = [(name, tuple(each.shape)) for name, each in model.state_dict().items() if name not in own]
        return replace(self, about={"parameters": parameters, "buffers": buffers})

    def find(self, way: tuple[Any, ...]) -> Structure | None:
        """The structure that the network was read as in this way, if it is kept and its shapes are those of the parameters.

        That is checked here: compiled loops go by the shapes of a graph and do not look at the masks' own.
        """
        kept = graph_store.find(graph_store.key_of(self.key, way))
        if kept is None or self.about is None:
            return None
        graph, about = kept
        own = {name: tuple(shape) for name, shape, *_ in self.about["parameters"]}
        shapes = {**graph.constants, **graph.shapes, **{name: mask.shape for name, mask in graph.modulators.items()}}
        fits = all(own.get(name) == shape for name, shape in shapes.items())
        try:
            scales = frozenset(about["scales"])
        except (KeyError, TypeError):
            return None
        return Structure(graph, scales) if fits and scales <= graph.modulators.keys() else None

    def keep(self, way: tuple[Any, ...], structure: Structure) -> None:
        """Keep a structure, and the names and shapes of its model."""
        if self.about is not None:
            graph_store.keep(self.key, EMPTY, self.about)
            graph_store.keep(graph_store.key_of(self.key, way), structure.graph, {"scales": sorted(structure.scales)})


def known_of(folder: Any, source: Any, part: Part, options: Mapping[str, Any]) -> Known | None:
    """What is kept of a folder's network, for this configuration, these names and shapes of tensors, options and versions.

    None where the configuration cannot be read.
    """
    try:
        with Path(folder, CONFIG).open("rb") as file:
            config = file.read(LARGEST)  # a longer one is refused when it is read as a configuration
    except OSError:
        return None
    tensors = look_into(opened(source), part).tensors
    names = sorted((name, tuple(tensor.shape), str(tensor.dtype)) for name, tensor in tensors.items())
    digests = [sha256(text).hexdigest() for text in (config, repr(names).encode())]
    versions = [*map(_version, LIBRARIES), sys.version]
    key = graph_store.key_of(digests, part, sorted(options.items()), versions)
    kept = graph_store.find(key)
    return Known(key, None if kept is None else kept[1], int(Beside(len(tensors)).parts))


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


class Watched:
    """A translation of a file's tensors that notes whether it ``changed`` any. Where not, reading needs no model for it."""

    def __init__(self, translate: Callable[[Reading], Reading] | None):
        self.translate, self.changed = translate, False

    def __call__(self, reading: Reading) -> Reading:
        """What the translation makes of the tensors."""
        result = reading if self.translate is None else self.translate(reading)
        for before, after in ((reading.entries, result.entries), (reading.others, result.others)):
            same = before.keys() == after.keys() and all(after[name] is each for name, each in before.items())
            self.changed |= not same
        return result


def _stand_in(parameters: Sequence[Any], buffers: Sequence[Any], most: int) -> nn.Module:
    """Modules with these parameters and buffers, on the meta device; a parameter that is tied is one.

    Raises ValueError where they are more than ``most``, modules too.
    """
    names = [name for name, *_ in (*parameters, *buffers)]
    if len(names) + sum(name.count(".") for name in names) > most:
        raise ValueError("names must be those of a model of so many tensors")
    root, made = nn.Module(), dict[str, nn.Parameter]()
    for name, shape, kind, first in parameters:
        if first == name:
            empty = torch.empty(shape, dtype=KINDS[kind], device="meta")
            made[name] = nn.Parameter(empty, requires_grad=False)
        place, leaf = holder(root, name)
        place.register_parameter(leaf, made[first])
    for name, shape in buffers:
        place, leaf = holder(root, name)
        place.register_buffer(leaf, torch.empty(shape, device="meta"))
    return root

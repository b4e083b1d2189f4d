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
from graphsparse.capture import Network
from graphsparse.capture.structure import Structure
from graphsparse.checkpoints import OpenCheckpoint, Part
from graphsparse.checkpoints.content import look_into
from graphsparse.checkpoints.forms import Reading
from graphsparse.checkpoints.opening import opened
from graphsparse.networks.models import parameters_of
from graphsparse.networks.translation import translation

CONFIG = "config.json"
LARGEST = 1 << 24  # bytes of a config.json; larger ones are refused elsewhere
Way = tuple[str, bool, tuple[str, ...] | None]
"""Resolution, norm_statistics and sources: how a program is read."""
LIBRARIES = ("torch", "transformers", "numpy")


@dataclass(frozen=True, eq=False)
class Known:
    """A structure that was captured before, and a model of the same names and shapes, which computes nothing."""

    structure: Structure
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


def recalled(key: str | None, load: Callable[..., Network], way: Way) -> Network | None:
    """A folder's network with the structure that is kept under the key, which is then not captured; None where none is.

    A network some of whose uses of a shared parameter are masked further than others is captured: its graph has more
    blocks than the names and shapes say.
    """
    kept = None if key is None else find(key)
    network = None if kept is None else load(stand_in=kept.model)
    if kept is None or network is None or network.uses:
        return None
    network.structures[(*way, ())] = kept.structure
    return network


def remember(key: str | None, network: Network, opening: Callable[..., OpenCheckpoint], way: Way) -> None:
    """Keep the structure that a folder's network was read as, where the next time it can be put on without its model."""
    structure = network.structures.get((*way, ()))
    if key is None or structure is None or not network.is_meta or not isinstance(network.model, nn.Module):
        return
    watched = Watched(translation(network.model))
    opening(parameters=parameters_of(network.model), translate=watched)
    if not watched.changed:
        keep(key, structure, network.model)


def find(key: str) -> Known | None:
    """What is kept under a key, if it is whole."""
    kept = graph_store.find(key)
    if kept is None:
        return None
    graph, about = kept
    try:
        structure = Structure(graph, frozenset(about["scales"]))
        return Known(structure, _stand_in(about["parameters"], about["buffers"]))
    except (KeyError, TypeError, ValueError, RuntimeError):  # another program's file
        return None


def keep(key: str, structure: Structure, model: nn.Module) -> None:
    """Keep a structure, and the names and shapes of its model."""
    first: dict[int, str] = {}
    parameters = [
        (name, tuple(each.shape), str(each.dtype).removeprefix("torch."), first.setdefault(id(each), name))
        for name, each in model.named_parameters(remove_duplicate=False)
    ]
    own = {name for name, *_ in parameters}
    buffers = [(name, tuple(each.shape)) for name, each in model.state_dict().items() if name not in own]
    about = {"parameters": parameters, "buffers": buffers, "scales": sorted(structure.scales)}
    graph_store.keep(key, structure.graph, about)


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

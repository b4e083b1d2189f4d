"""Options that belong together, stated once: a dataclass whose fields become options of every command that takes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from graphsparse.cli import options
from graphsparse.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from graphsparse.capture import Network
    from graphsparse.graph import LayeredGraph


def flat(command: Callable[..., Any]) -> tuple[list[inspect.Parameter], Callable[[Mapping[str, Any]], dict[str, Any]]]:
    """The parameters of a command with those of its groups among them, and what makes the groups of values."""
    parameters, groups = list[inspect.Parameter](), dict[str, Any]()
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        group: Any = parameter.annotation
        if is_dataclass(group):
            groups[name] = group
            parameters += inspect.signature(group, eval_str=True).parameters.values()  # type: ignore[arg-type]
        else:
            parameters.append(parameter)

    def grouped(values: Mapping[str, Any]) -> dict[str, Any]:
        left = dict(values)
        for name, group in groups.items():
            left[name] = group(**{each.name: left.pop(each.name) for each in fields(group)})
        return left

    return [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters], grouped


@dataclass(frozen=True)
class NetworkOptions:
    """Which network a checkpoint belongs to, and how both are read."""

    model: options.Model = None
    example_inputs: options.Inputs = None
    model_args: options.Arguments = None
    resolution: options.Resolution = None
    form: options.Form = None
    key: options.Key = None
    ignore: options.Ignore = None
    prefix: options.Prefix = None
    trust_sizes: options.TrustSizes = False
    cache: options.Cache = True

    def check(self, what: str = "") -> None:
        """Raises ModelError for an unknown resolution; and where ``what`` is asked for, which needs a network."""
        if what and self.model == "none":
            raise ModelError(f"{what} must have a network", received="--model none", way_out="name the model")
        if self.resolution not in (None, "unrolled", "channel"):
            raise ModelError(
                "a resolution must be unrolled or channel", place="--resolution", received=repr(self.resolution),
                way_out="name one",
            )  # fmt: skip

    def network(self, checkpoint: Path, weightless: bool = False) -> Network:
        """The checkpoint's network; errors as `load_network`."""
        from graphsparse.checkpoints import Part
        from graphsparse.networks.loading import load_network

        part = Part.of(self.key, self.ignore or (), self.prefix)
        return load_network(
            checkpoint, self.model, form=self.form, arguments=options.arguments(self.model_args), part=part,
            trust_sizes=self.trust_sizes, weightless=weightless, cache=self.cache,
        ).with_inputs(options.examples(self.example_inputs))  # fmt: skip

    def scored(self, checkpoint: Path, methods: Sequence[str]) -> Network:
        """The checkpoint's network for methods that score its connections. Errors as `load_network` and `with_weights`.

        The model of a transformers folder is built without weights; they are loaded where a method runs the model.
        """
        from graphsparse.networks.filling import bytes_to_run, size, with_weights
        from graphsparse.pruning.methods import METHODS, method_named

        running = [method for method in methods if METHODS[method_named(method)].runs_model]
        found = self.network(checkpoint)
        if found.is_meta and running:
            found = with_weights(found)
            memory = size(bytes_to_run(found))
            note = f"{running[0]} runs the model: its weights were loaded, which takes about {memory}."
            return replace(found, notes=(*found.notes, note))
        if found.is_meta and not found.weights:
            raise ModelError(
                "scores must be computed from weights", place=str(checkpoint), received="masks alone",
                way_out="name a checkpoint with weights",
            )  # fmt: skip
        return found


@dataclass(frozen=True)
class GraphOptions(NetworkOptions):
    """The same, and what the graph of the network is."""

    norm_statistics: options.Statistics = False
    sources: options.Sources = None

    @property
    def graph_arguments(self) -> dict[str, Any]:
        """What `graphsparse.export` takes besides the network."""
        return {
            "resolution": self.resolution, "norm_statistics": self.norm_statistics, "sources": self.sources or None,
        }  # fmt: skip

    @property
    def arguments(self) -> dict[str, Any]:
        """What `graphsparse.analyze`, `graphsparse.compare` and `graphsparse.track` take besides checkpoints."""
        return {
            "model": self.model, "example_inputs": options.examples(self.example_inputs), "form": self.form,
            "model_args": options.arguments(self.model_args), "key": self.key, "ignore": self.ignore or (),
            "prefix": self.prefix, "trust_sizes": self.trust_sizes, "cache": self.cache, **self.graph_arguments,
        }  # fmt: skip

    def graph(self, network: Network) -> LayeredGraph:
        """The graph of the network."""
        from graphsparse.capture import export

        return export(network, **self.graph_arguments)

"""Outputs of compacted models of every family of the tests against their masked models, at three densities.

In double precision, on batches of three random samples; differences are relative to the largest output.

Run: python benchmarks/compaction_families.py [--only NAME ...]
Needs: transformers, pytest.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import transformers
from timing import report
from torch import nn
from torch.utils._pytree import tree_leaves

import graphsparse as gs
from graphsparse import zoo
from tests import families
from tests.compacting import drawn, masked, masks_of, others, why
from tests.transformer_models import FAMILIES, ROUTED, built

HERE = Path(__file__).parent
DENSITIES = (0.5, 0.5), (0.3, 0.8), (0.1, 1.0)
"""The share of weights that are kept, and that of rows that keep any."""


def models() -> Iterator[tuple[str, nn.Module, tuple[Any, ...], dict[str, Any]]]:
    """Every model with its inputs."""
    for name in ("lenet300100", "lenet5", "digits_mlp", "digits_conv"):
        yield name, zoo.build(name), (torch.zeros(1, *zoo.input_shape(name)),), {}
    for name, (model, x) in families.MODELS.items():
        yield name, model, (x[:1],), {}
    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        yield kind.__name__, families.Recurrent(kind), (torch.zeros(1, 4, 3),), {}
    library: dict[str, Any] = families.LIBRARY
    for name, (settings, x) in library.items():
        config = getattr(transformers, f"{name}Config")(num_labels=4, **settings)
        yield name, getattr(transformers, f"{name}ForImageClassification")(config), (), {"pixel_values": x}
    known: dict[str, Any] = {**FAMILIES}
    for name, (_, inputs, *_) in known.items():
        if name not in ROUTED:
            yield name, built(name, "eager"), (), {key: make(0) for key, make in inputs.items()}


def doubled(value: Any) -> Any:
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def row(name: str, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The worst of three densities."""
    args, kwargs = tuple(map(doubled, args)), {key: doubled(value) for key, value in kwargs.items()}
    worst, dead, left, parameters = 0.0, 0, 0, [0, 0]
    stayed: dict[str, int] = {}
    for density, rows in DENSITIES:
        whole = drawn(copy.deepcopy(model))
        masks = masks_of(whole, density, rows)
        found = gs.compact(whole, args, masks, kwargs=kwargs)
        whole = masked(whole, masks)
        for seed in range(2):
            given, named = others((args, kwargs), seed, 3)
            with torch.no_grad():
                pairs = zip(tree_leaves(whole(*given, **named)), tree_leaves(found.model(*given, **named)), strict=True)
            for one, two in pairs:
                if isinstance(one, torch.Tensor) and one.is_floating_point() and bool(one.any()):
                    worst = max(worst, float((one - two).abs().max() / one.abs().max()))
        dead, left = dead + int(found.report.frame["dead"].sum()), left + int(found.report.frame["left"].sum())
        parameters = [parameters[0] + found.report.before.parameters, parameters[1] + found.report.after.parameters]
        for reason, count in why(found).items():
            stayed[reason] = stayed.get(reason, 0) + count
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(stayed.items()))
    return {
        "model": name, "parameters": f"{parameters[0]:,} to {parameters[1]:,}", "dead units": dead, "left": left,
        "stay": reasons, "outputs differ by": worst,
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    found: list[dict[str, Any]] = []
    for name, model, args, kwargs in models():
        if not given.only or name in given.only:
            found.append(row(name, model, args, kwargs))
            print(found[-1], flush=True)
    title = "Compacted models of every family, three densities together (goal: outputs within 1e-10)"
    report(title, found, HERE / "compaction_families.json")

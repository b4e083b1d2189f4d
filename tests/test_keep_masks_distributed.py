"""Masks under DistributedDataParallel and fully_shard: two processes against one that masks by hand."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch.multiprocessing.spawn import spawn

import graphsparse as gs
from tests import two_processes as two


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> list[dict]:
    """What each process wrote; all cases run in one pair of processes, since starting them takes most of the time."""
    folder = tmp_path_factory.mktemp("two")
    spawn(two.work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def by_hand(ranks: tuple[int, ...]) -> dict:
    """One process with the batches of these ranks, masked by hand."""
    model, masks = two.build(), two.masks()
    optimizer = two.optimizer_of(model)
    for name, mask in masks.items():
        model.get_parameter(name).data.mul_(mask)
    norms, gradients = [], {}
    for step in range(two.STEPS):
        optimizer.zero_grad()
        model(torch.cat([two.batch(step, rank) for rank in ranks])).square().mean().backward()
        for name, mask in masks.items():
            model.get_parameter(name).grad.mul_(mask)
        gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
        norms.append(float(torch.nn.utils.get_total_norm(gradients.values())))
        optimizer.step()
    return {"weights": dict(model.named_parameters()), "gradients": gradients, "norms": norms}


@pytest.mark.parametrize("case", [case.__name__ for case in two.CASES if case not in two.APART])
def test_every_process_trains_what_is_kept_and_nothing_else(done, case):
    expected = by_hand((0,) if case == "sharded_in_part" else (0, 1))
    for rank in range(2):
        found = done[rank][case]
        for name, mask in two.masks().items():
            assert not found["weights"][name][~mask].any() and found["weights"][name][mask].any()
            assert not found["gradients"][name][~mask].any()
        for name, weight in expected["weights"].items():
            assert torch.allclose(found["weights"][name], weight, atol=1e-6)
        first = 1 if case == "sharded_after" else 0  # parameters that were made anew are known from the first step on
        assert torch.allclose(torch.tensor(found["norms"][first:]), torch.tensor(expected["norms"][first:]))


def test_masks_come_back_from_a_distributed_checkpoint(done):
    for rank in range(2):
        found = done[rank]["saved_and_loaded"]
        for name, mask in two.masks().items():
            assert torch.equal(found["masks"][name], mask) and torch.equal(found["others"][name], ~mask)


def test_a_sharded_model_has_no_network_and_one_made_before_has(done):
    expected = gs.sparsity(gs.export(two.build(), torch.zeros(1, 6), two.masks()))
    for rank in range(2):
        assert "a model must hold its parameters whole, at 0.weight" in done[rank]["captured"]["said"]
        assert done[rank]["captured"]["active"] == expected.active


def test_a_network_of_a_model_that_is_sharded_since_has_no_schedule(done):
    for rank in range(2):
        said = done[rank]["sharded_since"]
        assert len(said) == 2 * len(two.SCHEDULES)
        assert all("must hold its parameters whole, at 0.weight" in each and "deepcopy" in each for each in said)


@cache
def in_one_process(kind: str) -> dict:
    """What a schedule does where one process trains on all batches."""
    model = two.build()
    handle = gs.keep_masks(model, {} if "gradual" in kind else two.masks())
    schedule = two.SCHEDULES[kind](handle, gs.network(model, torch.zeros(1, 6)), 0)
    return two.follow(model, handle, schedule, (0, 1))


@pytest.mark.parametrize("case", ["scheduled_spread", "scheduled_sharded"])
@pytest.mark.parametrize("kind", two.SCHEDULES)
def test_schedules_change_the_masks_of_all_processes_as_those_of_one_with_all_batches(done, case, kind):
    expected = in_one_process(kind)
    assert len(expected["changes"]) > 1
    for rank in range(2):
        found = done[rank][case][kind]
        assert [words for words, _ in found["changes"]] == [words for words, _ in expected["changes"]]
        for (_, masks), (_, others) in zip(found["changes"], expected["changes"], strict=True):
            assert masks.keys() == others.keys() and all(torch.equal(masks[name], others[name]) for name in masks)
        for name, weight in expected["weights"].items():
            assert torch.allclose(found["weights"][name], weight, atol=1e-5)
            assert not found["weights"][name][~masks.get(name, torch.ones_like(weight) > 0)].any()


def test_an_error_of_the_process_that_decides_is_raised_in_all(done):
    for rank in range(2):
        assert done[rank]["refused"].startswith("TargetError: the network must stay connected")

"""Dead experts out: units inside them, and whole experts where the router takes no notice."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import graphsparse as gs
from tests.compacting import assert_same, drawn, masked, why

GATES = {
    "sigmoid": lambda logits: logits.sigmoid(), "tanh": torch.tanh, "softmax": lambda logits: logits.softmax(-1),
    "shares": lambda logits: logits.sigmoid() / logits.sigmoid().sum(-1, keepdim=True),
    "best": lambda logits: logits.sigmoid() * (logits >= logits.topk(2, -1).values[..., -1:]),
    "scattered": lambda logits: torch.zeros_like(logits).scatter(-1, logits.topk(2, -1).indices, 1.0) * logits,
}  # fmt: skip
LEAVE = ("sigmoid", "tanh")


class Listed(nn.Module):
    def __init__(self, gates: str, count: int = 4):
        super().__init__()
        self.num_experts, self.gates = count, GATES[gates]
        self.router, self.head = nn.Linear(6, count), nn.Linear(5, 2)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 5, bias=False)) for _ in range(count)
        )

    def forward(self, x):
        gates = self.gates(self.router(x))
        return self.head(sum(gates[..., at : at + 1] * self.experts[at](x) for at in range(self.num_experts)))


class Stacked(nn.Module):
    def __init__(self, gates: str, count: int = 4):
        super().__init__()
        self.gates, self.router, self.head = GATES[gates], nn.Linear(6, count), nn.Linear(5, 2)
        self.up, self.down = nn.Parameter(torch.ones(count, 6, 7)), nn.Parameter(torch.ones(count, 7, 5))
        self.bias = nn.Parameter(torch.ones(count, 7))

    def forward(self, x):
        hidden = torch.relu(torch.einsum("bi,eih->beh", x, self.up) + self.bias)
        made = torch.einsum("beh,eho->beo", hidden, self.down)
        return self.head(torch.einsum("be,beo->bo", self.gates(self.router(x)), made))


def full(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: torch.ones(p.shape) > 0 for name, p in model.named_parameters() if p.dim() > 1}


@pytest.mark.parametrize("gates", GATES)
def test_a_listed_expert_leaves_if_nothing_reads_its_gate(gates):
    """Expert 1 gives zero; the router seldom chooses it, so that outputs alone do not show that a choice reads its row."""
    model, x = drawn(Listed(gates)), torch.zeros(1, 6).double()
    with torch.no_grad():
        model.router.bias[1] = -9.0
        model.experts[2][0].bias[3] = 0
    masks = full(model)
    masks["experts.1.2.weight"][:] = masks["experts.2.0.weight"][3] = False
    found = gs.compact(model, x, masks)
    count = 3 if gates in LEAVE else 4
    assert len(found.model.experts) == found.model.num_experts == found.model.router.out_features == count
    assert [e[0].out_features for e in found.model.experts] == ([7, 6, 7] if gates in LEAVE else [7, 1, 6, 7])
    said = "Experts 1 of the model left" if gates in LEAVE else "Experts 1 of experts are dead and stay"
    assert found.report.notes[0].startswith(said)
    for made in (found.model, found.expand()):
        assert_same(masked(model, masks), made, (x,))


def test_names_after_an_expert_that_left():
    model, x = drawn(Listed("sigmoid")), torch.zeros(1, 6).double()
    masks = full(model)
    masks["experts.1.2.weight"][:] = False
    with torch.no_grad():
        model.experts[3][0].bias[2] = 1.0  # a constant, which the last layer gets a bias for
    masks["experts.3.0.weight"][2] = False
    found = gs.compact(model, x, masks)
    assert found.names["experts.2.0.weight"] == "experts.3.0.weight" and "experts.0.0.weight" not in found.names
    whole = masked(model, masks).state_dict()
    small = found.shrink(whole)
    now = found.model.state_dict()
    assert {name: t.shape for name, t in small.items()} == {n: t.shape for n, t in now.items() if n in small}
    assert torch.equal(small["experts.2.0.weight"], now["experts.2.0.weight"])
    back = found.expand_tensors(small)
    assert torch.equal(back["experts.3.2.weight"][:, :2], whole["experts.3.2.weight"][:, :2])
    assert whole.keys() - back.keys() == {name for name in whole if name.startswith("experts.1.")}
    fresh = drawn(Listed("sigmoid", 3))
    assert {n for n in fresh.state_dict()} | {"experts.2.2.bias"} == now.keys()
    assert found.report.folded == {"experts.2.2.bias": 5}
    assert_same(masked(model, masks), found.model, (x,))
    assert_same(masked(model, masks), found.expand(), (x,))
    with torch.no_grad():
        found.model.experts[2][2].bias += 1  # training goes on
    torch.testing.assert_close(found.expand().experts[3][2].bias, torch.ones(5).double())
    assert len(gs.compact(model, x, masks, keep=["experts.0.*"]).model.experts) == 4


@pytest.mark.parametrize("gates", ["sigmoid", "softmax"])
def test_stacked_experts(gates):
    """Expert 2 gives zero; of all others unit 5 is dead, and of expert 0 unit 1."""
    model, x = drawn(Stacked(gates)), torch.zeros(1, 6).double()
    with torch.no_grad():
        model.bias[:, 5] = 0
    masks = full(model)
    masks["down"][2] = masks["up"][:, :, 5] = masks["down"][0, 1] = False
    found = gs.compact(model, x, masks)
    count = 3 if gates in LEAVE else 4
    assert found.model.up.shape == (count, 6, 6) and found.model.down.shape == (count, 6, 5)
    assert found.model.bias.shape == (count, 6) and found.model.router.bias.shape == (count,)
    assert found.unit_map["up"][0].tolist() == ([0, 1, 3] if gates in LEAVE else [0, 1, 2, 3])
    assert why(found).get("tied", 0) == (1 if gates in LEAVE else 12)
    for made in (found.model, found.expand()):
        assert_same(masked(model, masks), made, (x,))


def test_heads_of_parameters_with_an_axis_of_heads():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.query, self.key, self.value = (nn.Parameter(torch.ones(8, 3, 4)) for _ in range(3))
            self.out, self.head = nn.Parameter(torch.ones(3, 4, 8)), nn.Linear(8, 2)

        def forward(self, x):
            query, key, value = (torch.einsum("btd,dhf->bhtf", x, w) for w in (self.query, self.key, self.value))
            mixed = (query @ key.transpose(-1, -2)).softmax(-1) @ value
            return self.head(torch.einsum("bhtf,hfd->btd", mixed, self.out))

    model, x = drawn(Heads()), torch.zeros(1, 4, 8).double()
    masks = full(model)
    masks["out"][1] = False
    found = gs.compact(model, x, masks, verify=False)
    assert found.model.query.shape == (8, 2, 4) and found.model.out.shape == (2, 4, 8) and why(found) == {}
    assert_same(masked(model, masks), found.model, (x,))
    assert_same(masked(model, masks), found.expand(), (x,))


class Switch(nn.Module):
    def __init__(self):
        super().__init__()
        self.value, self.level, self.switch = nn.Linear(4, 6), nn.Linear(4, 5), nn.Linear(5, 1)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        value = self.value(x)
        return self.head(torch.where(self.switch(torch.relu(self.level(x))) > -20, value, -value))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("constant", [False, True])
def test_what_only_a_comparison_reads_stays(constant, seed):
    """The graph takes what a comparison computes as a constant. This one comes out the same for inputs of usual size;
    with a constant in it, it turns further away still."""
    model, x = drawn(Switch(), seed), torch.zeros(1, 4).double()
    masks = full(model)
    masks["value.weight"][2] = False
    if constant:
        masks["level.weight"][3] = False
        with torch.no_grad():
            model.level.bias[3], model.switch.weight[0, 3] = 3, 2
    found = gs.compact(model, x, masks)
    assert found.model.level.out_features == 5 and why(found)["compared"] == 4
    assert_same(masked(model, masks), found.model, (x,))
    far = torch.randn(99, 4, generator=torch.Generator().manual_seed(0)).double() * 1e3  # where the switch turns
    torch.testing.assert_close(found.model(far), masked(model, masks)(far))


def test_a_list_of_experts_of_a_class_of_its_own_stays_one():
    class Experts(nn.ModuleList):
        def forward(self, x, gates):
            return sum(gates[..., at : at + 1] * expert(x) for at, expert in enumerate(self))

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.router, self.head = nn.Linear(6, 4), nn.Linear(5, 2)
            self.experts = Experts(nn.Linear(6, 5, bias=False) for _ in range(4))

        def forward(self, x):
            return self.head(self.experts(x, self.router(x).sigmoid()))

    model, x = drawn(Mixed()), torch.zeros(1, 6).double()
    masks = full(model)
    masks["experts.1.weight"][:] = False
    found = gs.compact(model, x, masks)
    assert type(found.model.experts) is Experts and len(found.model.experts) == found.model.router.out_features == 3
    assert_same(masked(model, masks), found.model, (x,))


def test_a_list_of_layers_is_no_mixture():
    """Layer 1 of three is dead, and a head with three rows stands beside them."""

    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(4, 5), nn.Linear(4, 5, bias=False), nn.Linear(5, 4)])
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.layers[2](torch.relu(self.layers[0](x) + self.layers[1](x))))

    model, x = drawn(Layers()), torch.zeros(1, 4).double()
    found = gs.compact(model, x, {"layers.1.weight": torch.zeros(5, 4) > 0})
    assert found.report.notes == ()

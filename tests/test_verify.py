"""Outputs before and after what is dead is dropped: of modules, of exported programs, of programs from files."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._higher_order_ops import scan

import graphsparse as gs
from graphsparse import data
from graphsparse.capture.running import Runnable
from graphsparse.cli import main
from graphsparse.reports import verify
from tests.transformer_models import hf


def test_dropping_what_is_dead_changes_nothing_and_dropping_more_does(monkeypatch):
    pruned = (data.path("digits-mlp-50x.pt"), "graphsparse.zoo:digits_mlp", torch.zeros(1, 1, 8, 8))
    proof = gs.analyze(*pruned, verify=True).verification
    assert proof.dropped == 1004 - gs.analyze(*pruned).summary["active"] and proof.trials == verify.TRIALS
    assert proof.relative < 1e-12 < 1 < proof.greatest_output

    def too_few(graph):
        masks = gs.effective_masks(graph)
        first = masks["fc1.weight"].nonzero()[0]
        masks["fc1.weight"][tuple(first)] = False
        return masks

    monkeypatch.setattr(verify, "effective_masks", too_few)
    assert gs.analyze(*pruned, verify=True).verification.relative > 1e-6


def test_a_network_with_normalisation_is_proved_with_its_statistics():
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():
        model[0].weight *= torch.rand(6, 4) < 0.5
        model[3].weight[:, :3] = 0
    proof = gs.analyze(model, torch.zeros(1, 4), verify=True).verification
    assert not proof.same_masks and proof.relative < 1e-12


class Tokens(nn.Module):
    """A table, and two layers of which the first loses some units."""

    def __init__(self):
        super().__init__()
        self.table, self.body, self.head = nn.Embedding(9, 4), nn.Linear(4, 6), nn.Linear(6, 2)
        with torch.no_grad():
            self.head.weight[:, :3] = 0

    def forward(self, tokens):
        return self.head(torch.relu(self.body(self.table(tokens))))


def test_tokens_are_drawn_from_the_whole_table():
    network = gs.network(Tokens(), torch.zeros(1, 200, dtype=torch.int64))
    graph = gs.export(network)
    (tokens,), _ = verify._drawn((network.inputs, {}), graph, torch.Generator().manual_seed(0))
    assert set(tokens.ravel().tolist()) == set(range(9)) and tokens.shape == (1, 200)
    proof = verify.verify_outputs(network, graph)
    assert proof.dropped == 3 * 4 and proof.relative < 1e-12


def test_what_has_no_weights_cannot_be_proved():
    with pytest.raises(gs.ModelError, match="must have its weights"):
        gs.analyze(nn.Linear(3, 2).to("meta"), torch.zeros(1, 3, device="meta"), verify=True)


def test_a_report_without_a_model_cannot_be_verified():
    with pytest.raises(gs.ModelError, match="verify=True must have a network; received the model none"):
        gs.analyze({"a.weight": torch.eye(3)}, "none", verify=True)


class Convolutions(nn.Module):
    """Batch norm, a skip, pooling, and a dropout that is not at work."""

    def __init__(self):
        super().__init__()
        self.one, self.norm = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.two, self.drop, self.head = nn.Conv2d(6, 6, 3, padding=1), nn.Dropout(0.5), nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.one(x)))
        return {"logits": self.head(self.drop((x + self.two(x)).amax((2, 3)))), "features": x}


class Branches(nn.Module):
    """One of two layers, by a sum."""

    def __init__(self):
        super().__init__()
        self.yes, self.no = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: self.yes(x), lambda x: 2 - self.no(x).relu(), (x,))


class Steps(nn.Module):
    """A state that is carried over the rows of its input."""

    def __init__(self):
        super().__init__()
        self.cell = nn.Linear(4, 4)

    def forward(self, x):
        def step(state, row):
            made = torch.tanh(self.cell(state) + row)
            return made, made.clone()

        state, rows = scan(step, x[0], x[1:], dim=0)
        return state, rows


class Quiet(nn.Module):
    """Layers without gradients, and a table in single precision that is made on the way."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 4)

    def forward(self, x):
        with torch.no_grad():
            x = self.body(x)
        return x * torch.arange(4, dtype=torch.float32).cos() + torch.full((4,), 0.5, dtype=torch.float32)


def llama() -> nn.Module:
    config = hf.LlamaConfig(
        hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, vocab_size=11,
        use_cache=False, tie_word_embeddings=True,
    )  # fmt: skip
    return hf.LlamaForCausalLM(config)


MODELS = {
    "convolutions": (Convolutions, torch.randn(1, 2, 6, 6)),
    "branches": (Branches, torch.randn(1, 4)),
    "steps": (Steps, torch.randn(5, 4)),
    "quiet": (Quiet, torch.randn(1, 4)),
    "llama": (llama, torch.tensor([[3, 1, 4, 1, 5]])),
}


def program_of(name: str, density: float = 1.0):
    build, x = MODELS[name]
    torch.manual_seed(0)
    model = build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= torch.rand(parameter.shape) < (density if parameter.dim() > 1 else 1)
    return model, torch.export.export(model, (x,), strict=False)


def tensors(outputs) -> list[torch.Tensor]:
    outputs = dict(outputs) if hasattr(outputs, "keys") else outputs
    return [each for each in torch.utils._pytree.tree_leaves(outputs) if isinstance(each, torch.Tensor)]


@pytest.mark.parametrize("name", MODELS)
def test_a_program_run_call_by_call_gives_what_its_module_gives_in_double_precision(name):
    model, program = program_of(name)
    found = Runnable(gs.network(program).program, {})
    for seed in range(3):
        torch.manual_seed(seed)
        x = MODELS[name][1] if name == "llama" else torch.randn(MODELS[name][1].shape).double()
        wanted = tensors(model.double()(x))
        assert all(
            torch.allclose(one, other, rtol=1e-6, atol=1e-7) for one, other in zip(found(x), wanted, strict=True)
        )


@pytest.mark.parametrize("name", ["convolutions", "llama"])
def test_what_is_dead_in_a_program_of_a_file_does_nothing(name, tmp_path, monkeypatch):
    _, program = program_of(name, 0.3)
    torch.export.save(program, tmp_path / "net.pt2")
    report = gs.analyze(tmp_path / "net.pt2", norm_statistics=name == "llama", verify=True)
    proof, summary = report.verification, report.summary
    assert proof.dropped + proof.kept_for_constants == summary["kept"] - summary["active"]
    assert proof.relative < 1e-12 < 1e-3 < proof.greatest_output and proof.same_masks
    assert proof.dropped > 0

    def too_few(graph):
        masks = gs.effective_masks(graph)
        for mask in masks.values():
            mask[tuple(mask.nonzero()[0])] = False
        return masks

    monkeypatch.setattr(verify, "effective_masks", too_few)
    assert gs.analyze(tmp_path / "net.pt2", norm_statistics=name == "llama", verify=True).verification.relative > 1e-6


def test_a_program_gives_its_weights_to_masks_of_another_file(tmp_path):
    model, program = program_of("convolutions")
    torch.export.save(program, tmp_path / "net.pt2")
    masks = {name: torch.rand(p.shape) < 0.3 for name, p in model.named_parameters() if p.dim() > 1}
    torch.save({name: p * masks.get(name, True) for name, p in model.state_dict().items()}, tmp_path / "pruned.pt")
    proof = gs.analyze(tmp_path / "pruned.pt", tmp_path / "net.pt2", verify=True).verification
    assert proof.relative < 1e-12 and proof.dropped > 0 and proof.greatest_output > 0


class Nearest(nn.Module):
    """Puts the code that is nearest in the place of each value, as VQ-VAE does."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.codes, self.head = nn.Linear(3, 4, bias=False), nn.Embedding(8, 4), nn.Linear(4, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        far = (self.body(x)[:, None] - self.codes.weight).square().sum(-1)
        return self.head(self.codes(far.argmin(-1)))


def test_what_outputs_see_though_no_path_leads_there_stays_and_is_told():
    torch.manual_seed(0)
    model = Nearest()
    report = gs.analyze(model, torch.zeros(1, 3), verify=True)
    proof = report.verification
    assert report.sparsity.rows["body.weight"]["active"] == 0
    assert proof.kept_for_constants == 12 + 8  # those of the head carry the codes, which no input moves
    assert proof.largest == 0 < proof.greatest_output
    assert "20 dead connections stay" in str(proof) and "since outputs see them" in str(proof)


def test_at_the_command_line(tmp_path, capsys):
    _, program = program_of("branches", 0.5)
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(SystemExit, match="0"):
        main(["analyze", str(tmp_path / "net.pt2"), "--verify"])
    assert "Verified on 3 random inputs" in capsys.readouterr().out


class Taken(nn.Module):
    """Numbers whose bytes are taken for other numbers, again and again: twice as many each time in double precision."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 4)

    def forward(self, x):
        made = torch.zeros(4)
        for _ in range(3):
            made = made.view(torch.int32).float()
        return self.body(x) + made.sum()


class Wide(nn.Module):
    """A small kernel with wide windows: all of them as a matrix take 4 GB."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(64, 1, 8, bias=False)

    def forward(self, x):
        return self.body(x.expand(1, 64, 368, 368))


@pytest.mark.parametrize(
    ("model", "x", "rule"),
    [
        (Taken(), torch.ones(1, 4), "values of the same shapes in double precision"),
        (Wide(), torch.ones(1, 1, 1, 1), "must have windows that fit in memory"),
    ],
)
def test_what_grows_in_double_precision_is_refused(model, x, rule):
    """A file of a few KB would take any amount of memory."""
    program = torch.export.export(model.eval(), (x,))
    with pytest.raises(gs.CaptureError, match=rule):
        Runnable(program, {})(x)


class Writing(nn.Module):
    """Writes into its input, as code that normalises images does."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 6), nn.Linear(6, 2)
        with torch.no_grad():
            self.head.weight[:, 2] = 0

    def forward(self, x):
        return self.head(torch.relu(self.body(x.sub_(0.5).mul_(2))))


@pytest.mark.parametrize(("kind", "target"), [("call_method", "exp"), ("call_module", "inner")])
def test_methods_and_modules_of_a_program_are_never_called(kind, target):
    class Never(nn.Module):
        def forward(self, x):
            pytest.fail("a module ran")

    program = torch.export.export(nn.Sequential(nn.ReLU()), (torch.ones(3),), strict=False)
    program.graph_module.inner = Never()
    node = next(node for node in program.graph.nodes if node.op == "call_function")
    node.op, node.target = kind, target
    with pytest.raises(gs.CaptureError, match="must be one that torch can run"):
        Runnable(program, {})(torch.ones(3))


def test_a_model_that_writes_into_its_inputs():
    model, x = Writing(), torch.ones(1, 4)
    proof = gs.analyze(model, x, verify=True).verification
    assert proof.relative < 1e-12 and proof.dropped == 4 and bool((x == 1).all())
    found = gs.compact(Writing().double(), x.double())
    assert found.model.body.out_features == 5 and found.report.notes == ()


def test_a_program_writes_into_no_tensor_of_its_own():
    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(4, 4)
            self.register_buffer("seen", torch.zeros(4))

        def forward(self, x):
            self.seen.add_(1)
            return self.body(x) + self.seen

    program = torch.export.export(Counted().double().eval(), (torch.ones(1, 4).double(),))
    run = Runnable(program, {})
    one, other = run(torch.ones(1, 4)), run(torch.ones(1, 4))
    assert torch.equal(one[0], other[0]) and not program.state_dict["seen"].any()


class Placed(nn.Module):
    """Positions and a mask that are made where the tokens are."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places, self.head = nn.Embedding(11, 8), nn.Embedding(6, 8), nn.Linear(8, 4)

    def forward(self, tokens):
        at = torch.arange(tokens.shape[1], device=tokens.device).to(torch.device("cpu"))
        earlier = torch.ones(len(at), len(at), device=tokens.device).tril()
        return self.head(earlier @ (self.words(tokens) + self.places(at)))


@pytest.mark.parametrize(
    "device", [torch.device("cuda:0"), "cuda:0"], ids=["captured", "moved"]
)  # torch moves to a name
def test_a_program_that_names_a_gpu_is_read_and_run_where_there_is_none(device):
    program = torch.export.export(Placed().eval(), (torch.tensor([[1, 2, 3]]),))
    expected, named = gs.analyze(program, verify=True), 0
    for node in program.graph.nodes:
        if "device" in node.kwargs:
            node.kwargs, named = {**node.kwargs, "device": device}, named + 1
        elif node.target is torch.ops.aten.to.device:
            node.args, named = (node.args[0], device, *node.args[2:]), named + 1
    assert named >= 3
    found = gs.analyze(program, verify=True)
    assert found.sparsity.rows == expected.sparsity.rows and list(found.sparsity.rows) == [
        "words.weight",
        "head.weight",
    ]
    assert found.verification.largest == 0

"""Parameters that several modules share: masked in all uses or in some, swept, written, trained; and masks of what holds no connections."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize, prune

import graphsparse as gs
from graphsparse.checkpoints import write_masks_file
from graphsparse.cli import main
from graphsparse.errors import MaskError
from graphsparse.networks.loading import load_network
from graphsparse.passes.liveness import active_connections
from graphsparse.reports.report import report_of
from tests.gradients import gradient_masks, positive
from tests.judge import without_normalisation

TOKENS = (torch.arange(20)[None] * 7) % 20


class Words(nn.Module):
    """A table of 20 tokens by 8 features whose rows are also what the outputs are compared with."""

    def __init__(self, tied: bool = True):
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.middle = nn.Linear(8, 8)
        self.head = nn.Linear(8, 20, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, tokens):
        return self.head(torch.relu(self.middle(self.table(tokens))))


class Steps(nn.Module):
    """Three modules that share one kernel, the first of them reached by two paths."""

    def __init__(self, tied: bool = True):
        super().__init__()
        self.inlet = nn.Linear(5, 6)
        self.one, self.two, self.three = (nn.Linear(6, 6) for _ in range(3))
        self.again = self.one
        if tied:
            self.two.weight = self.three.weight = self.one.weight

    def forward(self, x):
        x = torch.relu(self.inlet(x))
        for step in (self.one, self.two, self.again, self.three):
            x = torch.relu(step(x))
        return x


class Branches(nn.Module):
    """Two convolutions of one kernel, each with a bias and a normalisation of one scale."""

    def __init__(self, tied: bool = True):
        super().__init__()
        self.left, self.right = nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3)
        self.norm, self.other = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.last = nn.Conv2d(3, 2, 2)
        if tied:
            self.right.weight, self.right.bias = self.left.weight, self.left.bias
            self.other.weight = self.norm.weight

    def forward(self, x):
        x, y = x.unflatten(1, (2, 2)).unbind(1)
        return self.last(torch.relu(self.norm(self.left(x)) + self.other(self.right(y))))


MODELS: dict[str, tuple[Callable[..., nn.Module], torch.Tensor, tuple[str, ...]]] = {
    "words": (Words, TOKENS, ("table.weight", "head.weight")),
    "steps": (Steps, torch.ones(1, 5).double(), ("one.weight", "two.weight", "three.weight")),
    "branches": (Branches, torch.ones(1, 4, 6, 6).double(), ("left.weight", "right.weight")),
}
TIED = {"words": ["table.weight", "head.weight"], "steps": ["one.weight", "two.weight", "three.weight"],
        "branches": ["left.weight", "right.weight"]}  # fmt: skip


class Kept(nn.Module):
    """A parametrisation that prunes."""

    def __init__(self, mask: torch.Tensor):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight):
        return weight * self.mask


def random(shape, density: float, seed: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density


def put(model: nn.Module, masks: Mapping[str, torch.Tensor], how: str = "prune") -> nn.Module:
    for name, mask in masks.items():
        path, _, leaf = name.rpartition(".")
        module = model.get_submodule(path)
        if how == "prune":
            prune.custom_from_mask(module, leaf, mask)
        else:
            parametrize.register_parametrization(module, leaf, Kept(mask))
    return model


def by_gradients(
    untied: nn.Module, args: tuple, masks: Mapping[str, torch.Tensor], tied: list[str]
) -> dict[str, np.ndarray]:
    """What is active by torch where each use has a parameter of its own; a shared one is active in any use."""
    shapes = {name: parameter for name, parameter in untied.named_parameters() if parameter.dim() > 1}
    whole = {name: torch.ones(parameter.shape, dtype=torch.bool) for name, parameter in shapes.items()}
    return united(gradient_masks(positive(untied), {**whole, **masks}, args), tied)


def united(found: dict[str, torch.Tensor], tied: list[str]) -> dict[str, np.ndarray]:
    joined = np.any([found.pop(name).numpy() for name in tied], 0)
    assert joined.any(), "the judge finds nothing active: the test shows nothing"
    return {tied[0]: joined, **{name: active.numpy() for name, active in found.items()}}


def assert_same(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, active in expected.items():
        assert np.array_equal(np.asarray(found[name]), active), name


def partly(name: str, seed: int, density: float = 0.2) -> tuple[dict[str, torch.Tensor], list[str]]:
    """A mask on one of the uses, and masks on what is not shared."""
    model, _, uses = MODELS[name]
    parameters = dict(model(False).named_parameters())
    masked = {uses[seed % len(uses)]: random(parameters[uses[0]].shape, density, seed)}
    own = [n for n, p in parameters.items() if p.dim() > 1 and n not in TIED[name]]
    return {**masked, **{n: random(parameters[n].shape, 0.5, seed + i) for i, n in enumerate(own)}}, TIED[name]


class TestAMaskOnSomeUses:
    def test_counts_of_the_issue(self):
        """32 of 160 entries were taken as kept where all are used, and 32 as active where torch finds gradients on 160."""
        mask = torch.zeros(20, 8, dtype=torch.bool)
        mask[:, :2] = True
        model = put(positive(Words()), {"table.weight": mask[torch.randperm(20)]})
        found = gs.sparsity(gs.export(model, TOKENS))
        model(torch.arange(20)[None]).sum().backward()
        gradients = model.table.weight_orig.grad
        assert int(mask.sum()) * 4 == 160 and bool((gradients != 0).all())
        assert found.frame.loc["table.weight", ["kept", "active"]].tolist() == [160, 160]

    @pytest.mark.parametrize(
        ("name", "how"),
        [*((name, "prune") for name in MODELS), ("words", "parametrization"), ("steps", "parametrization")],
    )
    def test_each_use_is_swept_under_its_own(self, name, how):
        factory, example, uses = MODELS[name]
        for seed in range(len(uses)):
            masks, tied = partly(name, seed)
            expected = by_gradients(factory(False), (example,), masks, tied)
            model = put(positive(factory()), masks, how)
            graph = gs.export(model, example)
            assert_same(active_connections(graph), expected)
            counts = gs.sparsity(graph).frame["active"]
            assert counts.to_dict() == {n: int(active.sum()) for n, active in expected.items()}
            coarse = active_connections(gs.export(model, example, resolution="channel"))
            assert all((coarse[n] >= active).all() for n, active in expected.items())
            again = graph.with_masks(gs.effective_masks(graph))
            assert_same(active_connections(again), expected)
            assert any("each use is swept" in note.lower() and next(iter(masks)) in note for note in graph.notes)
            assert set(graph.notes) <= set(report_of("model", graph).notes)

    @pytest.mark.parametrize(
        ("name", "form"),
        [("words", "prune"), ("branches", "prune"), ("words", "parametrization"), ("steps", "parametrization")],
    )
    def test_files_say_the_same(self, name, form, tmp_path):
        factory, example, uses = MODELS[name]
        for seed in range(len(uses) if name == "words" else 1):
            masks, tied = partly(name, seed)
            live = put(positive(factory()), masks, form)
            torch.save(live.state_dict(), tmp_path / "net.pt")
            expected = gs.sparsity(gs.export(live, example)).frame
            for model in (positive(factory()), self.on_meta(factory)):
                report = gs.analyze(tmp_path / "net.pt", model, example)
                assert report.sparsity.frame.equals(expected)
                assert any("each use is swept" in note.lower() for note in report.notes)

    @staticmethod
    def on_meta(factory) -> nn.Module:
        with torch.device("meta"):
            return factory().double()

    def test_a_file_with_one_name_masks_the_parameter(self):
        live = put(Words(), {"table.weight": random((20, 8), 0.3, 0)})
        state = {name: tensor for name, tensor in live.state_dict().items() if name != "head.weight"}
        report = gs.analyze(state, Words(), TOKENS)
        assert report.frame.loc["table.weight", "kept"] == int(live.table.weight_mask.sum())

    def test_scores_are_under_the_masks_of_the_uses(self):
        for name, (factory, example, _) in MODELS.items():
            masks, tied = partly(name, 1, 0.6)
            graph = gs.export(put(positive(factory()), masks), example)
            generator = torch.Generator().manual_seed(5)
            scores = {n: torch.rand(shape, generator=generator) for n, shape in graph.shapes.items()}
            found, curve = gs.effective_scores(graph, scores), gs.compression_curve(graph, scores)
            for threshold in (0.1, 0.4, 0.7):
                above = {n: scores[n] >= threshold for n in scores}
                by_use = {use: masks.get(use, torch.tensor(True)) & above[tied[0]] for use in tied}
                others = {n: above[n] & masks[n] for n in above if n not in tied}
                expected = united(gradient_masks(positive(factory(False)), {**by_use, **others}, (example,)), tied)
                assert_same({n: (found[n] >= threshold).numpy() for n in found}, expected)
                place = np.searchsorted(-curve.thresholds, -threshold, "right") - 1
                assert curve.active[place] == sum(int(active.sum()) for active in expected.values())

    def test_gpt2_with_only_its_table_pruned(self):
        hf = pytest.importorskip("transformers")

        def build(tied: bool) -> nn.Module:
            sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 20, "vocab_size": 20}
            config = hf.GPT2Config(**sizes, tie_word_embeddings=tied, attn_implementation="eager", use_cache=False)
            model = positive(Logits(hf.GPT2LMHeadModel(config)))
            nn.init.zeros_(
                model.model.transformer.wpe.weight
            )  # constants have gradients too, which make nothing active
            return model

        shapes = {n: p.shape for n, p in build(False).named_parameters() if p.dim() > 1 and "wpe" not in n}
        tied = ["model.transformer.wte.weight", "model.lm_head.weight"]
        for use in tied:
            masks = {n: random(shape, 0.3, i) for i, (n, shape) in enumerate(shapes.items()) if n not in tied}
            masks[use] = random(shapes[use], 0.1, 99)
            live = put(build(True), masks)
            graph = gs.export(live, TOKENS)
            judge = {**masks, **{n: torch.ones(shapes[n], dtype=torch.bool) for n in tied if n != use}}
            judged = united(gradient_masks(without_normalisation(build(False)), judge, (TOKENS,)), tied)
            found = active_connections(graph)
            assert all((active <= found[n]).all() for n, active in judged.items())
            assert np.array_equal(found[tied[0]], judged[tied[0]])
            assert_same(found, united(gs.effective_masks(gs.export(build(False), TOKENS, judge)), tied))
            assert gs.sparsity(graph).frame.loc[tied[0], "kept"] == 160
            file = gs.analyze(live.state_dict(), build(True), TOKENS)
            assert file.sparsity.frame.equals(gs.sparsity(graph).frame)

    def test_edges_are_of_each_use(self):
        mask = random((20, 8), 0.3, 0)
        graph = gs.export(put(Words(), {"table.weight": mask}), TOKENS, resolution="channel")
        counts = [edge.matrix.nnz for edge in graph.edges if edge.parameter == "table.weight"]
        assert counts == [int(mask.sum()), 160]
        assert graph.adjacency().nnz == sum(edge.matrix.nnz for edge in graph.edges)
        assert len(graph.to_igraph().es) == graph.adjacency().nnz

    @pytest.mark.parametrize("method", ["magnitude", "synflow"])
    def test_pruning_starts_from_the_masks_of_the_uses(self, method):
        masks, tied = partly("words", 0)
        model = put(positive(Words()), masks)
        found = gs.prune(model, TOKENS, method, compression=3)
        by_use = {use: masks.get(use, torch.tensor(True)) & found[tied[0]] for use in tied}
        judged = gradient_masks(positive(Words(False)), {**by_use, "middle.weight": found["middle.weight"]}, (TOKENS,))
        assert_same({name: mask.numpy() for name, mask in found.items()}, united(judged, tied))
        assert bool((found["table.weight"] & ~masks["table.weight"]).any())

    def test_parametrised_models_are_not_changed(self):
        model = put(Words(), {"table.weight": random((20, 8), 0.3, 0)}, "parametrization")
        before = model(TOKENS)
        gs.export(model, TOKENS)
        assert torch.equal(model(TOKENS), before)

    def test_a_captured_program_cannot_tell_uses_apart(self):
        program = torch.export.export(Words().eval(), (TOKENS,))
        state = put(Words(), {"table.weight": random((20, 8), 0.3, 0)}).state_dict()
        with pytest.raises(MaskError, match=r"table.weight.*the module itself"):
            gs.analyze(state, program)


def truly_masked(model: nn.Module, masks: Mapping[str, torch.Tensor]) -> nn.Module:
    """A copy whose parameters are zero where masks drop them, in every module that shares them."""
    twin = copy.deepcopy(model)
    named = dict(twin.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, mask in masks.items():
            named[name].mul_(mask)
    return twin


def learn(model: nn.Module, example: torch.Tensor, masks: Mapping[str, torch.Tensor] | None = None) -> None:
    """Three steps of gradient descent; what ``masks`` drop stays zero."""
    named = dict(model.named_parameters(remove_duplicate=False))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(3):
        optimiser.zero_grad()
        (model(example) - 1).pow(2).mean().backward()
        optimiser.step()
        with torch.no_grad():
            for name, mask in (masks or {}).items():
                named[name].mul_(mask)


def kernels(model: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in model.named_parameters() if parameter.dim() > 1}


def some_inputs(name: str) -> torch.Tensor:
    example = MODELS[name][1]
    return torch.randint(0, 20, (6, 5)) if name == "words" else torch.randn(6, *example.shape[1:]).double()


class TestWriting:
    @pytest.mark.parametrize("form", ["prune", "zeros"])
    @pytest.mark.parametrize("name", MODELS)
    def test_modules_are_masked_in_every_use_and_stay_so(self, name, form):
        """The masks are of the first name alone; the second module was left dense, and training revived what is zero."""
        factory, example, _ = MODELS[name]
        torch.manual_seed(0)
        model = factory().double().eval()
        masks = {n: random(shape, 0.4, i) for i, (n, shape) in enumerate(kernels(model).items())}
        expected, inputs = truly_masked(model, masks), some_inputs(name)
        gs.write_masks(model, masks, example_inputs=example, fold_constants=False, form=form)
        torch.testing.assert_close(model(inputs), expected(inputs))
        assert not torch.allclose(model(inputs), factory().double().eval()(inputs))
        wanted = gs.sparsity(gs.export(expected, example, masks)).frame
        assert gs.sparsity(gs.export(model, example)).frame.equals(wanted)
        if form == "prune":
            learn(model, inputs)
            learn(expected, inputs, masks)
            torch.testing.assert_close(model(inputs), expected(inputs))
            assert gs.sparsity(gs.export(model, example)).frame.equals(wanted)

    @pytest.mark.parametrize("how", ["prune", "parametrization"])
    @pytest.mark.parametrize(
        ("name", "form"), [("words", "prune"), ("words", "zeros"), ("steps", "prune"), ("branches", "zeros")]
    )
    def test_uses_that_keep_less_still_do(self, name, form, how):
        factory, example, uses = MODELS[name]
        for seed in range(len(uses) if name == "words" else 1):
            torch.manual_seed(seed)
            masks, _ = partly(name, seed)
            model = put(factory().double().eval(), masks, how)
            graph, inputs = gs.export(model, example), some_inputs(name)
            before, effective = model(inputs), gs.effective_masks(graph)
            written = gs.write_masks(model, effective, example_inputs=example, form=form)
            torch.testing.assert_close(model(inputs), before)
            again = gs.export(model, example)
            assert_same(active_connections(again), {n: m.numpy() for n, m in effective.items()})
            assert gs.sparsity(again).kept == sum(int(mask.sum()) for mask in written.masks.values())
            if form == "prune":
                learn(model, inputs)
                assert_same(active_connections(gs.export(model, example)), {n: m.numpy() for n, m in effective.items()})

    @pytest.mark.parametrize(
        ("name", "form"),
        [
            ("words", "zeros"),
            ("steps", "prune"),
            ("words", "parametrization"),
            ("words", "sparse-bitmask"),
            ("branches", "zeros"),
        ],
    )
    def test_files_are_masked_under_every_name(self, name, form, tmp_path):
        factory, example, _ = MODELS[name]
        file = tmp_path / "net.safetensors"
        torch.manual_seed(0)
        model, inputs = factory().double().eval(), some_inputs(name)
        masks = {n: random(shape, 0.4, i) for i, (n, shape) in enumerate(kernels(model).items())}
        gs.write_masks(
            file,
            masks,
            weights=model.state_dict(),
            model=model,
            example_inputs=example,
            fold_constants=False,
            form=form,
        )
        found = gs.read_masks(file)
        assert all(torch.equal(found[n], masks[TIED[name][0]]) for n in TIED[name])
        expected = truly_masked(model, masks)
        loaded = load_network(file, factory().double()).model.eval()
        torch.testing.assert_close(loaded(inputs), expected(inputs))
        wanted = gs.sparsity(gs.export(expected, example, masks)).frame
        assert gs.analyze(file, factory().double(), example).sparsity.frame.equals(wanted)

    def test_files_keep_the_masks_of_uses(self, tmp_path):
        masks, tied = partly("words", 0)
        live = put(positive(Words()), masks)
        source, target = tmp_path / "in.pt", tmp_path / "out.pt"
        torch.save(live.state_dict(), source)
        graph = gs.export(live, TOKENS)
        effective = gs.effective_masks(graph)
        options = {"weights": source, "model": positive(Words()), "example_inputs": TOKENS}
        with pytest.raises(MaskError, match="prune or parametrization"):
            gs.write_masks(target, effective, **options)
        assert not target.exists()
        for form in ("prune", "parametrization"):
            gs.write_masks(target, effective, form=form, **options)
            again = gs.analyze(target, positive(Words()), TOKENS)
            assert again.sparsity.kept == again.sparsity.active == gs.sparsity(graph).active
            state = gs.read_masks(target)
            assert torch.equal(state["table.weight"], masks["table.weight"] & effective["table.weight"])
            assert torch.equal(state["head.weight"], effective["table.weight"])

    def test_tensors_of_a_file_that_share_memory_are_masked_alike(self, tmp_path):
        file, mask = tmp_path / "net.pt", random((20, 8), 0.3, 0)
        torch.save(Words().state_dict(), file)
        gs.write_masks(file, {"head.weight": mask}, fold_constants=False)
        found = gs.read_masks(file)
        assert torch.equal(found["table.weight"], mask) and torch.equal(found["head.weight"], mask)
        with pytest.raises(MaskError, match=r"table\.weight and head\.weight"):
            apart = {"table.weight": mask, "head.weight": ~mask}
            gs.write_masks(file, apart, weights=Words().state_dict(), fold_constants=False)

    def test_prune_at_the_command_line_reaches_every_name(self, tmp_path, monkeypatch):
        (tmp_path / "words.py").write_text("from tests.test_sharing import Words\n")
        monkeypatch.syspath_prepend(tmp_path)
        torch.save(Words().state_dict(), tmp_path / "net.pt")
        out = tmp_path / "out.pt"
        arguments = ["prune", str(tmp_path / "net.pt"), "--model", "words:Words", "--input", "int:5", "--out", str(out)]
        with pytest.raises(SystemExit, match="0"):
            main([*arguments, "--compression", "4"])
        found = gs.read_masks(out)
        assert torch.equal(found["table.weight"], found["head.weight"]) and not bool(found["table.weight"].all())


class TestDisagreement:
    ONE, OTHER = random((20, 8), 0.5, 1), random((20, 8), 0.5, 2)

    def given(self, one: torch.Tensor, other: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"table.weight": one, "head.weight": other}

    def test_masks_that_are_given(self):
        graph = gs.export(Words(), TOKENS)
        for call in (graph.with_masks, lambda masks: gs.export(Words(), TOKENS, masks),
                     lambda masks: gs.write_masks(Words(), masks, example_inputs=TOKENS)):  # fmt: skip
            with pytest.raises(MaskError, match=r"table\.weight and head\.weight"):
                call(self.given(self.ONE, self.OTHER))
            call(self.given(self.ONE, self.ONE.clone()))
        assert graph.with_masks(self.given(self.ONE, self.ONE)).masks.keys() >= {"table.weight"}

    @pytest.mark.parametrize("how", ["prune", "parametrization"])
    def test_masks_of_a_model(self, how):
        with pytest.raises(MaskError, match=r"table\.weight and head\.weight"):
            gs.export(put(Words(), self.given(self.ONE, self.OTHER), how), TOKENS)
        agreed = gs.export(put(Words(), self.given(self.ONE, self.ONE), how), TOKENS)
        assert gs.sparsity(agreed).frame.loc["table.weight", "kept"] == int(self.ONE.sum()) and not agreed.notes

    @pytest.mark.parametrize("form", ["prune", "parametrization", "zeros", "bits", "sparse-bitmask"])
    def test_masks_in_files(self, form, tmp_path):
        weights = {"table.weight": torch.ones(20, 8), "head.weight": torch.ones(20, 8), "middle.weight": torch.ones(8, 8),
                   "middle.bias": torch.ones(8)}  # fmt: skip
        file = tmp_path / "net.safetensors"
        for other in (self.ONE, self.OTHER):
            masks = {**self.given(self.ONE, other), "middle.weight": torch.ones(8, 8).bool()}
            write_masks_file(file, masks, form=form, weights=None if form == "bits" else weights)
            for model in (Words(), TestAMaskOnSomeUses.on_meta(Words)):
                example = TOKENS
                if other is self.OTHER:
                    with pytest.raises(MaskError, match=r"(table|head)\.weight and (table|head)\.weight"):
                        gs.analyze(file, model, example)
                else:
                    report = gs.analyze(file, model, example)
                    assert report.frame.loc["table.weight", "kept"] == int(self.ONE.sum()) and len(report.frame) == 2


class Tables(nn.Module):
    """Attention whose scores have a bias by distance, positions, a shared scale of nothing, and a bias in place."""

    def __init__(self):
        super().__init__()
        self.positions = nn.Parameter(torch.rand(6, 8))
        self.distances = nn.Parameter(torch.rand(2, 11))
        self.project, self.head = nn.Linear(8, 24), nn.Linear(8, 3)
        self.norm = nn.LayerNorm(8)
        self.register_buffer("index", torch.arange(6)[:, None] - torch.arange(6)[None] + 5)

    def forward(self, x):
        q, k, v = self.project(self.norm(x + self.positions)).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        scores = torch.softmax(q @ k.mT + self.distances[:, self.index], -1)
        return self.head((scores @ v).transpose(1, 2).flatten(2))


class TestMasksWithoutConnections:
    EXAMPLE = torch.rand(1, 6, 8)

    def masks(self) -> dict[str, torch.Tensor]:
        model = Tables()
        return {
            n: random(p.shape, 0.5, i)
            for i, (n, p) in enumerate(model.named_parameters())
            if "." not in n or p.dim() < 2
        }

    def test_they_are_taken_counted_nowhere_and_told(self):
        masks, model = self.masks(), Tables()
        assert set(masks) == {"positions", "distances", "project.bias", "head.bias", "norm.weight", "norm.bias"}
        graph = gs.export(model, self.EXAMPLE, masks, norm_statistics=True)
        assert set(gs.effective_masks(graph)) == {"project.weight", "head.weight"}
        assert gs.sparsity(graph).connections == 8 * 24 + 8 * 3
        (note,) = graph.notes
        assert all(name in note for name in masks)
        assert note in report_of("tables", graph).notes
        # a masked entry is a zero: the graph is that of the model in which they are zero
        zero = gs.export(truly_masked(model, masks), self.EXAMPLE, norm_statistics=True)
        assert_same(active_connections(graph), active_connections(zero))

    @pytest.mark.parametrize("form", ["prune", "zeros"])
    def test_they_are_written(self, form):
        masks, model = self.masks(), Tables().eval()
        inputs, expected = torch.randn(4, 6, 8), truly_masked(model, masks)
        gs.write_masks(model, masks, example_inputs=self.EXAMPLE, fold_constants=False, norm_statistics=True, form=form)
        torch.testing.assert_close(model(inputs), expected(inputs))
        again = gs.export(model, self.EXAMPLE)
        assert form == "zeros" or all(np.array_equal(again.masks[n], m.numpy()) for n, m in masks.items())

    def test_they_are_read_from_files(self, tmp_path):
        masks = self.masks()
        torch.save(put(Tables(), masks).state_dict(), tmp_path / "net.pt")
        report = gs.analyze(tmp_path / "net.pt", Tables(), self.EXAMPLE)
        assert any("distances" in note and "positions" in note for note in report.notes)
        assert report.sparsity.frame.equals(gs.sparsity(gs.export(put(Tables(), masks), self.EXAMPLE)).frame)

    def test_zeros_that_are_no_masks_are_not_told(self, tmp_path):
        torch.save(truly_masked(Tables(), self.masks()).state_dict(), tmp_path / "net.pt")
        with torch.device("meta"):
            bare = Tables()
        bare.index = Tables().index
        for model in (Tables(), bare):
            assert not any(
                "without connections" in note for note in gs.analyze(tmp_path / "net.pt", model, self.EXAMPLE).notes
            )

    def test_a_shape_or_a_name_that_does_not_fit_is_an_error(self):
        for masks, text in (
            ({"distances": torch.ones(3).bool()}, "distances"),
            ({"nowhere": torch.ones(3).bool()}, "nowhere"),
        ):
            with pytest.raises(MaskError, match=text):
                gs.export(Tables(), self.EXAMPLE, masks)

    def test_the_bias_tables_of_levit(self):
        hf = pytest.importorskip("transformers")
        sizes = {"hidden_sizes": [16, 24, 32], "num_attention_heads": [2, 3, 4], "key_dim": [4, 4, 4]}
        model = hf.LevitModel(hf.LevitConfig(**sizes, depths=[1, 1, 1], image_size=64)).eval()
        shapes = {name: parameter.shape for name, parameter in model.named_parameters() if "attention_bias" in name}
        masks = {name: random(shape, 0.5, i) for i, (name, shape) in enumerate(shapes.items())}
        image, inputs = torch.zeros(1, 3, 64, 64), torch.randn(2, 3, 64, 64)
        network, expected = gs.network(model, image), truly_masked(model, masks)
        graph = gs.export(network)
        masked = graph.with_masks({**graph.masks, **masks})
        assert masks and gs.sparsity(masked).frame.equals(gs.sparsity(graph).frame)
        assert all(name in masked.notes[-1] for name in masks)
        gs.write_masks(network, masks, fold_constants=False, norm_statistics=True)
        torch.testing.assert_close(model(inputs)[0], expected(inputs)[0])


class Logits(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, tokens):
        return self.model(tokens).logits


class Repeated(nn.Module):
    """A kernel whose rows, columns, groups or windows are the same entries of a parameter."""

    def __init__(self, shape: tuple[int, ...], made: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]):
        super().__init__()
        self.made, self.weight = made, nn.Parameter(torch.ones(shape))

    def forward(self, x):
        return self.made(x, self.weight)


REPEATED = {
    "rows": ((5,), (1, 5), lambda x, w: F.linear(x, w.expand(3, 5))),
    "columns": ((3, 1), (1, 5), lambda x, w: F.linear(x, w.expand(3, 5))),
    "groups": ((1, 1, 3, 3), (1, 4, 5, 5), lambda x, w: F.conv2d(x, w.expand(4, 1, 3, 3), groups=4)),
    "windows": ((5,), (1, 3), lambda x, w: F.linear(x, w.unfold(0, 3, 1))),
}


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
@pytest.mark.parametrize("kind", REPEATED)
def test_entries_that_a_kernel_repeats_are_counted_once(kind, resolution):
    shape, size, made = REPEATED[kind]
    graph = gs.export(Repeated(shape, made), torch.zeros(size), {}, resolution=resolution)
    masks = torch.rand((70, *shape), generator=torch.Generator().manual_seed(0)) < 0.6
    many = gs.sparsity_of(graph, {"weight": masks})
    for mask, kept, active in zip(masks, many.kept[:, 0], many.active[:, 0], strict=True):
        found = gs.sparsity(graph.with_masks({"weight": mask}))
        assert found.kept == found.active == kept == active == mask.sum()

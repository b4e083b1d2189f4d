"""What people who are new to it give to the Python functions: it works, or one error of ours says what to give instead."""

from __future__ import annotations

import html
import logging
import os
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse import cli
from graphsparse.checkpoints import convert

HOUSE = Path(gs.__file__).parents[1]
X = torch.zeros(1, 4)
W = "0.weight"


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


def graph() -> gs.LayeredGraph:
    return gs.export(net(), X)


def nested(depth: int) -> nn.Module:
    model: nn.Module = nn.Linear(4, 4)
    for _ in range(depth):
        model = nn.Sequential(model)
    return model


def ragged() -> torch.Tensor:
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


def masked(mask) -> gs.LayeredGraph:
    return gs.export(net(), X, {W: mask})


REFUSED = {
    "a state dict to export": (lambda: gs.export(net().state_dict(), X), "torch.nn.Module"),
    "a class to export": (lambda: gs.export(nn.Linear, X), "received Linear"),
    "a function to export": (lambda: gs.export(lambda x: x, X), "torch.nn.Module"),
    "TorchScript": (lambda: gs.export(torch.jit.trace(nn.Linear(4, 2), X), X), "must not be TorchScript"),
    "TorchScript inside": (
        lambda: gs.export(nn.Sequential(torch.jit.trace(nn.Linear(4, 2), X)), X),
        "nor a module in it",
    ),
    "modules without end": (lambda: gs.export(nested(1000), X), "setrecursionlimit"),
    "a model to sparsity": (lambda: gs.sparsity(net()), "graphsparse.export"),
    "a model to effective_masks": (lambda: gs.effective_masks(net()), "graphsparse.export"),
    "a model to effective_scores": (lambda: gs.effective_scores(net(), {}), "graphsparse.export"),
    "a model to compression_curve": (lambda: gs.compression_curve(net(), {}), "graphsparse.export"),
    "a list of masks": (lambda: gs.export(net(), X, [torch.ones(4, 4)]), "mapping of parameter names"),
    "a list of other masks": (lambda: graph().with_masks([torch.ones(4, 4)]), "mapping of parameter names"),
    "a list of masks to write": (lambda: gs.write_masks(net(), [torch.ones(4)], example_inputs=X), "mapping of"),
    "a list of scores": (lambda: gs.effective_scores(graph(), [torch.ones(4, 4)]), "mapping of parameter names"),
    "a mask without values": (lambda: masked(torch.ones(4, 4, device="meta")), "must have values"),
    "a ragged mask": (lambda: masked(ragged()), "dense tensor of real numbers"),
    "rows of two lengths": (lambda: masked([[1, 0], [1]]), "dense tensor of real numbers"),
    "a mask that is None": (lambda: masked(None), "dense tensor of real numbers"),
    "a mask that is text": (lambda: masked("all"), "dense tensor of real numbers"),
    "scores without values": (
        lambda: gs.effective_scores(graph(), {W: torch.ones(4, 4, device="meta")}),
        "have values",
    ),
    "ragged scores": (lambda: gs.effective_scores(graph(), {W: ragged()}), "dense tensor of real numbers"),
    "complex scores": (lambda: gs.effective_scores(graph(), {W: torch.ones(4, 4) * 1j}), "real numbers"),
    "masks by number": (lambda: gs.export(net(), X, {0: torch.ones(4, 4)}), "a name of type int"),
    "a list of many masks": (lambda: gs.sparsity_of(graph(), [torch.ones(4, 4)]), "mapping of parameter names"),
    "a state dict to write to": (lambda: gs.write_masks(net().state_dict(), {}, fold_constants=False), "weights=state"),
    "a state dict for a file's model": (
        lambda: gs.write_masks("x.pt", {}, model=net().state_dict()),
        "must be a module or a network",
    ),
    "a state dict and inputs": (lambda: gs.analyze(state(), X), "received Tensor"),
    "a checkpoint's model that is a class": (lambda: gs.analyze(state(), nn.Linear, X), "received Linear"),
    "kwargs that are a list": (lambda: gs.export(net(), kwargs=[X]), "kwargs must be a mapping"),
    "data that is a number": (lambda: gs.prune(net(), X, "snip", compression=2, data=5), "received int"),
    "text for a quota": (lambda: gs.quotas("erk", [(3, 4)], "0.5"), "sparsity must be a number"),
    "a number for shapes": (lambda: gs.quotas("erk", 12, 0.5), "list of kernel shapes"),
    "sizes for shapes": (lambda: gs.quotas("erk", [3, 4], 0.5), "list of kernel shapes"),
    "a number for a key": (lambda: gs.read_masks(state(), key=0), "key must be text"),
    "a number for a pattern": (lambda: gs.read_masks(state(), ignore=0), "ignore must be text"),
    "a file of biases": (lambda: gs.read_masks({"bias": torch.ones(3)}), "kernels too"),
    "scores to write_masks": (lambda: gs.write_masks(net(), {W: torch.randn(4, 4)}, example_inputs=X), "boolean"),
    "shares to write_masks": (lambda: gs.write_masks(net(), {W: torch.full((4, 4), 0.3)}, example_inputs=X), "boolean"),
    "text for a number": (lambda: gs.prune(net(), X, "magnitude", compression="10"), "compression must be a number"),
    "text for a share": (lambda: gs.prune(net(), X, "magnitude", sparsity="0.5"), "sparsity must be a number"),
    "a method that is no text": (lambda: gs.prune(net(), X, 3, sparsity=0.5), "must have a known name"),
    "a misspelt keyword": (lambda: gs.prune(net(), X, "lamp", compression=2, efective=False), "use effective"),
    "a misspelt option": (lambda: gs.prune(net(), X, "synflow", compression=2, round=3), "use rounds"),
    "another method's option": (lambda: gs.prune(net(), X, "magnitude", compression=2, rounds=3), "no options"),
    "a model beside a model": (lambda: gs.analyze(net(), net(), X), "must come without a model beside it"),
}


@pytest.fixture
def usual_recursion():
    """Python's own limit of calls: mypy, which another test runs in this process, raises it for good."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.usefixtures("usual_recursion")
def test_what_cannot_be_taken_is_one_error_of_ours_with_the_way_out(name):
    call, text = REFUSED[name]
    with pytest.raises(gs.GraphsparseError, match=text) as raised:
        call()
    assert raised.value.way_out and "\n" not in str(raised.value)


def test_a_program_is_analysed_as_its_module_is():
    model = net()
    program = torch.export.export(model, (X,))
    assert gs.analyze(program).summary == gs.analyze(model, X).summary


def test_a_path_may_name_a_model_too(tmp_path):
    torch.save(net().state_dict(), tmp_path / "x.pt")
    torch.export.save(torch.export.export(net(), (X,)), tmp_path / "x.pt2")
    assert gs.analyze(tmp_path / "x.pt", tmp_path / "x.pt2").summary == gs.analyze(net(), X).summary


def test_nothing_to_count_is_not_sparse_by_any_way():
    """No connection was dropped: sparsity 0 and compression 1, with a model, without one and for a live one."""
    layer = nn.Linear(4, 0)
    for report in (
        gs.analyze(layer, X),
        gs.analyze(layer.state_dict(), layer, X),
        gs.analyze(layer.state_dict(), "none"),
    ):
        found = {name: value for name, value in report.summary.items() if name.endswith(("sparsity", "compression"))}
        assert set(found.values()) <= {0.0, 1.0} and report.summary["connections"] == 0
        assert found["direct_sparsity"] == 0 and found["direct_compression"] == 1
    counted = gs.sparsity(gs.export(layer, X))
    assert (counted.direct, counted.effective) == (0, 0)
    assert (counted.direct_compression, counted.effective_compression) == (1, 1)


def test_a_misspelt_keyword_is_a_type_error_too():
    with pytest.raises(TypeError, match="use effective"):
        gs.prune(net(), X, "magnitude", compression=2, efective=False)


@pytest.mark.parametrize("layout", ["bfloat16", "float16", "float8_e4m3fn", "sparse", "csr", "quantised", "list"])
def test_masks_and_scores_of_every_type_and_layout_are_taken(layout):
    kept = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    made = {
        "sparse": kept.to_sparse, "csr": kept.to_sparse_csr, "list": kept.tolist,
        "quantised": lambda: torch.quantize_per_tensor(kept, 1.0, 0, torch.quint8),
    }  # fmt: skip
    given = made[layout]() if layout in made else kept.to(getattr(torch, layout))
    assert torch.equal(gs.effective_masks(masked(given))[W], kept > 0)
    assert torch.equal(
        gs.effective_scores(graph(), {W: given})[W], kept.to(gs.effective_scores(graph(), {W: given})[W])
    )


def test_a_kernel_without_entries_and_one_of_eight_bits():
    empty = gs.sparsity(gs.export(nn.Linear(4, 0), X))
    assert (empty.connections, empty.kept, empty.active) == (0, 0, 0)
    layer = nn.Linear(4, 2)
    layer.weight = nn.Parameter(
        torch.tensor([[0.0, 1, 2, 0], [0, 0, 0, 3]]).to(torch.float8_e4m3fn), requires_grad=False
    )
    assert gs.sparsity(gs.export(layer, X)).active == 3


def test_a_live_model_is_analysed_with_its_inputs_behind_it():
    model = net()
    assert gs.analyze(model, X).summary == gs.analyze(model, example_inputs=X).summary


def test_errors_are_at_the_top_level():
    from graphsparse import errors

    family = [
        name
        for name, each in vars(errors).items()
        if getattr(each, "__module__", "") == errors.__name__ and isinstance(each, type)
    ]
    assert len(family) == 9 and all(getattr(gs, name) is getattr(errors, name) for name in family)
    assert set(family) <= set(gs.__all__)


# Threads, logging, warnings, random numbers and what torch prints.


def test_threads_take_turns_and_leave_the_process_as_it_was():
    gs.export(net(), X)  # what torch imports at its first export stays
    filters, found = list(warnings.filters), []

    def work(width: int) -> None:
        for _ in range(2):
            layers = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 2))
            try:
                found.append(gs.export(layers, torch.zeros(1, width)).n_connections - width * width - 2 * width)
            except Exception as error:
                found.append(repr(error))

    threads = [threading.Thread(target=work, args=(width,)) for width in range(4, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [0] * 16
    assert logging.root.manager.disable == 0 and list(warnings.filters) == filters


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_that_is_forked_during_an_export_can_export():
    code = """
        import os, threading, torch, warnings
        warnings.simplefilter("ignore")
        from torch import nn
        import graphsparse as gs
        model, x = nn.Linear(4, 2), torch.zeros(1, 4)
        gs.export(model, x)
        done = threading.Event()
        def work():
            while not done.is_set(): gs.export(model, x)
        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(3):
            child = os.fork()
            if not child:
                os._exit(0 if gs.export(model, x).n_connections == 8 else 1)
            assert os.waitpid(child, 0)[1] == 0
        done.set()
        thread.join()
    """
    env = {**os.environ, "PYTHONPATH": str(HOUSE), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=240, env=env)


class Draws(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x) + torch.rand(2)


def test_random_numbers_of_a_model_are_not_used_up():
    model = Draws()
    before = torch.get_rng_state()
    gs.export(model, X)
    assert torch.equal(before, torch.get_rng_state())


class Forks(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        y = self.layer(x)
        return y if y.sum() > 0 else -y


def test_nothing_of_torch_is_printed_for_control_flow_by_values(capfd):
    with pytest.raises(gs.CaptureError, match="control flow"):
        gs.export(Forks(), X)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["magnitude", "synflow"])
def test_torch_does_not_warn_of_itself_where_a_program_is_pruned(method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(net(), (X,))
    assert gs.prune(program, None, method, compression=2).active == 12


def test_what_another_thread_prints_is_not_lost(capsys):
    from graphsparse.capture.quiet import quiet

    thread = threading.Thread(target=lambda: print("theirs", file=sys.stderr))
    with quiet():
        print("ours", file=sys.stderr)
        thread.start()
        thread.join()
    assert capsys.readouterr().err == "theirs\n"


# SynFlow where the program makes numbers of its own.


class Reads(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]):
        super().__init__()
        self.body, self.head = kind(4, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.body(x)[0][:, -1])


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_synflow_on_recurrent_networks(kind, gates):
    total = gates * 32 + 8
    masks = gs.prune(Reads(kind), torch.zeros(1, 3, 4), "synflow", compression=3, rounds=3)
    assert masks.connections == total and masks.active == -(-total // 3)


def test_synflow_under_weight_norm():
    torch.manual_seed(0)
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    masks = gs.prune(nn.Sequential(normed, nn.ReLU(), nn.Linear(4, 2)), X, "synflow", compression=2, rounds=3)
    assert (masks.active, masks.connections) == (12, 24)


# Files: which part is meant, what is written reads back, what is not finite is told.


def state() -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in net().state_dict().items()}


def halved() -> dict[str, torch.Tensor]:
    return {
        name: torch.where(torch.arange(tensor.numel()).reshape(tensor.shape) % 2 == 0, tensor, 0.0)
        for name, tensor in state().items()
    }


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({"G": state(), "D": {"other.weight": torch.ones(3, 3)}}, {"key": "G"}),
        ({"nets": {"G": {"state_dict": state()}, "D": state()}}, {"key": "nets/G"}),
        ({"model": halved(), "model_ema": state()}, {"key": "model_ema"}),
        ({"model": state(), "net": halved()}, {"key": "model"}),
        ({**state(), "criterion.weight": torch.ones(3)}, {"ignore": "criterion.*"}),
        ({**state(), "criterion.weight": torch.ones(3), "temperature": torch.ones(())}, {"ignore": ["criterion.*", "temp*"]}),
        ({f"{p}{n}": t for p in ("net.", "ema_net.") for n, t in state().items()}, {"prefix": "net."}),
    ],
)  # fmt: skip
def test_a_part_of_a_file_is_chosen_in_python_and_at_the_command_line(tmp_path, capsys, content, part):
    whole = gs.analyze(state(), net(), X)
    assert gs.analyze(content, net(), X, **part).summary == whole.summary
    assert list(gs.read_masks(content, **part)) == ["0.weight", "2.weight"]
    torch.save(content, tmp_path / "x.pt")
    options = [
        text
        for key, value in part.items()
        for each in ([value] if isinstance(value, str) else value)
        for text in (f"--{key}", each)
    ]
    with pytest.raises(SystemExit) as status:
        cli.main(["analyze", str(tmp_path / "x.pt"), "--model", "chain", *options])
    printed = capsys.readouterr()
    assert not status.value.code and "24 of 24 active" in printed.out


@pytest.mark.parametrize(
    ("content", "part", "text"),
    [
        ({"G": state(), "D": state()}, {}, "key='G'"),
        ({"G": state(), "D": state()}, {"key": "E"}, "use one of G, D"),
        ({"model": state(), "net": state()}, {}, "key='model'"),
        ({**state(), "criterion.weight": torch.ones(3)}, {}, "ignore='criterion.weight'"),
        (state(), {"ignore": "criterion.*"}, "the names are 0.weight"),
        (state(), {"prefix": "net."}, "the names are 0.weight"),
        ({f"{p}{n}": t for p in ("net.", "ema_net.") for n, t in state().items()}, {}, "prefix='net.'"),
    ],
)
def test_an_error_about_several_models_says_how_to_choose(content, part, text):
    with pytest.raises(gs.GraphsparseError) as raised:
        gs.analyze(content, net(), X, **part)
    assert text in str(raised.value)


def test_which_of_two_models_was_taken_is_told():
    for model, x in ((net(), X), ("none", None)):
        notes = gs.analyze({"model": state(), "model_ema": halved(), "optimizer": {"state": {}}}, model, x).notes
        assert "Read: the entry model. Beside it: model_ema (key= or --key chooses another)." in notes
    assert not [note for note in gs.analyze({"model": state(), "epoch": 3}, net(), X).notes if note.startswith("Read")]


def test_weights_that_are_not_finite_are_told_with_names_and_counts(tmp_path):
    content = state()
    content["0.weight"][0, :2] = torch.tensor([float("nan"), float("inf")])
    content["2.weight"][1, 3] = float("-inf")
    note = "NaN or infinite, counted as kept: 0.weight (2), 2.weight (1)."
    torch.save(content, tmp_path / "x.pt")
    model = net()
    model.load_state_dict(content)
    for source, network, x in (
        (content, net(), X),
        (tmp_path / "x.pt", "chain", None),
        (content, "none", None),
        (model, X, None),
    ):
        assert note in gs.analyze(source, network, x).notes
    assert not [text for text in gs.analyze(state(), net(), X).notes if "NaN" in text]


def test_what_convert_writes_as_csr_reads_back_with_the_same_model(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        model[0].weight[::2] = 0
        model[0].bias[1] = 0
    convert(model.state_dict(), tmp_path / "c.npz", "csr")
    report = gs.analyze(tmp_path / "c.npz", model, X)
    assert report.frame.equals(gs.analyze(model.state_dict(), model, X).frame) and report.summary["kept"] == 16
    fresh = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).eval()
    assert gs.analyze(tmp_path / "c.npz", fresh, X).summary["kept"] == 16


# What is shown at the end of a notebook's cell.


def test_results_are_short_at_the_prompt_and_in_notebooks():
    model = net()
    pruned = gs.prune(model, X, "magnitude", compression=2)
    assert repr(pruned) == "PrunedMasks(12 of 24 connections active, compression 2.0x, 2 parameters)"
    assert isinstance(pruned, dict) and all(isinstance(mask, torch.Tensor) for mask in pruned.values())
    written = gs.write_masks(model, pruned, example_inputs=X)
    assert repr(written).startswith("Written(2 masks, ") and len(repr(written)) < 200
    report = gs.analyze({"<b>.weight": torch.eye(4)}, "none")
    for each in (report, gs.sparsity(graph()), gs.analyze(net(), X)):
        page = each._repr_html_()
        assert page.startswith("<div") and "<table" in page and len(page) < 8000 and "<b>.weight" not in page
    assert html.escape("<b>.weight") in report._repr_html_()
    assert all(len(repr(each)) < 300 for each in (report, gs.compression_curve(graph(), {W: torch.rand(4, 4)})))


def test_docstrings_of_the_first_functions_are_whole_and_their_examples_run():
    import doctest
    import inspect

    for function in (
        gs.prune,
        gs.sparsity,
        gs.compression_curve,
        gs.effective_scores,
        gs.export,
        gs.analyze,
        gs.network,
    ):
        text = inspect.getdoc(function)
        for part in ("Args:", "Raises:", "Example:"):
            assert part in text, f"{function.__name__} has no {part}"
        for name in inspect.signature(function).parameters:
            assert name in text.split("Args:")[1], f"{function.__name__} says nothing of {name}"
        module = sys.modules[function.__module__]
        for test in doctest.DocTestFinder().find(
            function, function.__name__, module=module, globs={**vars(module), "torch": torch}
        ):
            assert test.examples and doctest.DocTestRunner().run(test).failed == 0

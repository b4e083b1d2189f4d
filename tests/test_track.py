"""Trajectories of real runs, compared with one analysis per file, sets of indices, and masks put back by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse.cli import main
from graphsparse.errors import CheckpointError, MaskError
from graphsparse.runs import workers
from graphsparse.runs.steps import steps_of
from tests.dynamic_training import Small, train

X = torch.zeros(1, 1, 8, 8)
NAMES = ["fc1.weight", "fc2.weight", "fc3.weight"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(folder)
    return folder


@pytest.fixture(scope="module")
def found(run):
    return gs.track(run, Small(), X)


@pytest.fixture(scope="module")
def states(run) -> list[dict[str, torch.Tensor]]:
    return [torch.load(path, weights_only=True) for path in sorted(run.glob("*.pt"))]


@pytest.fixture(scope="module")
def graphs(states):
    """Each checkpoint captured by itself."""
    made = []
    for state in states:
        model = Small()
        model.load_state_dict(state)
        made.append(gs.export(model, X))
    return made


def bools(state, names=NAMES):
    return np.concatenate([(state[name] != 0).numpy().ravel() for name in names])


class TestNumbers:
    def test_of_each_step_are_those_of_its_own_analysis(self, found, graphs):
        assert found.steps == tuple(range(0, 45, 5))
        for step, graph in zip(found.steps, graphs):
            alone, row = gs.sparsity(graph), found.totals.loc[step]
            assert (row["kept"], row["active"], row["direct"]) == (alone.kept, alone.active, alone.direct)
            for name in NAMES:
                ours, theirs = found.parameters.loc[name, step], alone.frame.loc[name]
                columns = ["kept", "active", "direct", "effective", "units", "starved", "stranded"]
                assert ours[columns].tolist() == theirs[columns].tolist()

    def test_anp_and_fan_in_are_those_of_topology(self, found, graphs):
        for step, graph in zip(found.steps, graphs):
            shape = gs.topology(graph, ["connected_units_of_prunable_units", "variation_of_fan_in"])
            total = shape.total.loc["connected_units_of_prunable_units"]
            assert found.totals.loc[step, ["anp", "active_anp"]].tolist() == [total["kept"], total["active"]]
            by_name = shape.parameters["variation_of_fan_in"]
            for name in NAMES:
                ours = found.parameters.loc[name, step]
                assert ours["fan_in_variation"] == pytest.approx(by_name.loc[name, "kept"])
                assert ours["active_fan_in_variation"] == pytest.approx(by_name.loc[name, "active"])
                assert ours["fan_in"] == pytest.approx(graph.kept[name].count() / graph.shapes[name][0])

    def test_births_deaths_overlaps_and_itop_are_those_of_sets(self, found, states):
        for names, of in [(NAMES, found.totals), *(([name], found.parameters.loc[name]) for name in NAMES)]:
            sets = [set(np.flatnonzero(bools(state, names))) for state in states]
            size, seen = len(bools(states[0], names)), set()
            for n, now in enumerate(sets):
                row, before = of.loc[found.steps[n]], sets[n - 1]
                seen |= now
                assert row["itop"] == pytest.approx(len(seen) / size)
                assert row["overlap_last"] == pytest.approx(len(now & sets[-1]) / len(now | sets[-1]))
                if n:
                    assert (row["born"], row["died"]) == (len(now - before), len(before - now))
                    assert row["overlap_before"] == pytest.approx(len(now & before) / len(now | before))
        assert found.totals["died"].iloc[1:].min() > 0 and found.totals["itop"].is_monotonic_increasing

    def test_the_same_of_active_connections(self, found, graphs):
        sets = []
        for graph in graphs:
            active = gs.effective_masks(graph)
            sets.append(set(np.flatnonzero(np.concatenate([active[name].numpy().ravel() for name in NAMES]))))
        for n, now in enumerate(sets):
            row = found.totals.loc[found.steps[n]]
            assert row["active_itop"] == pytest.approx(len(set().union(*sets[: n + 1])) / graphs[0].n_connections)
            assert row["active_overlap_last"] == pytest.approx(len(now & sets[-1]) / len(now | sets[-1]))
            if n:
                assert (row["active_born"], row["active_died"]) == (len(now - sets[n - 1]), len(sets[n - 1] - now))


class TestUnits:
    def test_who_died_when_and_who_cut_it(self, found, graphs):
        """The unit must be dead with the masks of its step, and alive with the old connections of who cut it put back."""
        lives = [_live(graph) for graph in graphs]
        expected = []
        for n in range(1, len(graphs)):
            for unit in np.flatnonzero(lives[n - 1] & ~lives[n]):
                cut = [name for name in NAMES if _live(_put_back(graphs, n, name))[unit]]
                layer = graphs[0].layer_of(unit)
                expected.append((found.steps[n], layer.name, unit - layer.start, ", ".join(cut) or "several together"))
        told = found.deaths[["step", "layer", "unit", "cut_by"]].itertuples(index=False, name=None)
        assert sorted(told) == sorted(expected) and len(expected) > 5
        assert len({cut for *_, cut in expected}) > 2

    def test_who_came_back(self, found, graphs):
        lives = [_live(graph) for graph in graphs]
        for death in found.deaths.itertuples():
            unit = next(each for each in graphs[0].layers if each.name == death.layer).start + death.unit
            later = [step for step, live in zip(found.steps, lives) if step > death.step and live[unit]]
            assert (None if pandas.isna(death.back) else death.back) == (later[0] if later else None)
        assert found.deaths["back"].notna().any() and found.deaths["back"].isna().any()

    def test_counts_of_units(self, found, graphs):
        lives = [_live(graph) for graph in graphs]
        for n, step in enumerate(found.steps[1:], 1):
            row = found.totals.loc[step]
            assert row["live"] == lives[n].sum()
            assert row["units_born"] == (lives[n] & ~lives[n - 1]).sum()
            assert row["units_died"] == (lives[n - 1] & ~lives[n]).sum() == (found.deaths["step"] == step).sum()

    def test_one_unit(self, found):
        first = found.deaths.iloc[0]
        assert first["step"] in found.unit(first["layer"], first["unit"])["step"].tolist()
        with pytest.raises(MaskError, match="a layer in which units died, at nowhere"):
            found.unit("nowhere", 0)

    def test_without_causes(self, run, found):
        quick = gs.track(run, Small(), X, causes=False)
        assert quick.deaths.drop(columns="cut_by").equals(found.deaths.drop(columns="cut_by"))
        assert quick.totals.drop(columns="units_cut").equals(found.totals.drop(columns="units_cut"))


def _live(graph) -> np.ndarray:
    from graphsparse.sweep import sweep

    swept = sweep(graph)
    return swept.signal & swept.reaches


def _put_back(graphs, n: int, name: str):
    masks = {key: graphs[n].kept[key].unpack() for key in NAMES}
    masks[name] = masks[name] | graphs[n - 1].kept[name].unpack()
    return graphs[n].with_masks(masks)


class TestCollapse:
    def test_is_found_at_its_first_step(self):
        one, none = torch.ones(4, 4) > 0, torch.zeros(4, 4) > 0
        masks = [{"a.weight": one, "b.weight": one}, {"a.weight": one, "b.weight": none}]
        found = gs.track({10: masks[0], 20: masks[1], 30: masks[1], 40: masks[0]}, "chain")
        assert found.collapses == {"": 20, "a.weight": 20, "b.weight": 20}
        assert found.deaths["cut_by"].unique().tolist() == ["b.weight"]
        assert found.deaths["back"].tolist() == [40] * len(found.deaths)


class TestOrder:
    @pytest.mark.parametrize(
        ("names", "numbers"),
        [
            (["step_000100.pt", "step_000020.pt"], [20, 100]),
            (["epoch=3-step=200.ckpt", "epoch=12-step=1000.ckpt", "last.ckpt"], [200, 1000]),
            (["checkpoint-500", "checkpoint-1000"], [500, 1000]),
            (["epoch=3-val_loss=0.25.ckpt", "epoch=10-val_loss=0.125.ckpt"], [3, 10]),
            (["net10.safetensors", "net9.safetensors"], [9, 10]),
            (["resnet18-7.pt", "resnet18-12.pt"], [7, 12]),
            (["vgg19_iter_5000.pth", "vgg19_iter_600.pth"], [600, 5000]),
            (["model_0.25_3.pt", "model_0.125_2.pt"], [2, 3]),
        ],
    )
    def test_steps_are_told_from_names(self, names, numbers):
        assert [step.number for step in steps_of([Path(name) for name in names]).steps] == numbers

    def test_a_pattern(self):
        names = [Path(name) for name in ("a_3_of_9.pt", "a_1_of_9.pt", "b_2_of_9.pt")]
        found = steps_of(names, "a_{step}_of_*.pt")
        assert [step.number for step in found.steps] == [1, 3] and found.left_out == ("b_2_of_9.pt",)

    @pytest.mark.parametrize(
        ("source", "pattern", "text"),
        [
            (["a1.pt", "b1.pt"], None, "a step must have one checkpoint, at the files; received a1.pt and b1.pt for 1"),
            (["last.pt"], None, "a run must have checkpoints with a number in their names"),
            (["a1.pt"], "a.pt", r"a pattern must have \{step\} once"),
            ("no/such", None, "a run must be a folder, or several files, at no/such; received nothing there"),
            ({"one": {}}, None, "a step must be a whole number"),
        ],
    )
    def test_what_cannot_be_ordered_is_said(self, source, pattern, text):
        with pytest.raises(CheckpointError, match=text):
            steps_of(source, pattern)

    def test_a_folder(self, tmp_path):
        for name in ("checkpoint-20", "checkpoint-3", "runs"):
            (tmp_path / name).mkdir()
        for name in (
            "checkpoint-20/model.safetensors",
            "checkpoint-3/model.safetensors",
            "runs/log.txt",
            "config.json",
        ):
            (tmp_path / name).touch()
        assert [step.name for step in steps_of(tmp_path).steps] == ["checkpoint-3", "checkpoint-20"]


class TestDamage:
    def test_a_damaged_file_is_skipped_and_said_once(self, run, found, tmp_path):
        for path in run.glob("*.pt"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / "step_000020.pt").write_bytes((run / "step_000020.pt").read_bytes()[:1000])
        torch.save({"other.weight": torch.ones(2, 2)}, tmp_path / "step_000025.pt")
        (tmp_path / "step_000000.pt").write_bytes(b"")
        partly = gs.track(tmp_path, Small(), X)
        assert sorted(partly.skipped) == ["step_000000.pt", "step_000020.pt", "step_000025.pt"]
        assert all(len(text.splitlines()) == 1 for text in partly.skipped.values())
        assert not partly.notes and partly._repr_html_().count("Skipped") == 3 and "3 skipped" in repr(partly)
        assert partly.steps == (5, 10, 15, 30, 35, 40)
        same = ["kept", "active", "overlap_last", "anp"]
        assert partly.totals[same].equals(found.totals.loc[list(partly.steps), same])

    def test_nothing_that_can_be_read_is_an_error(self, tmp_path):
        (tmp_path / "step_1.pt").write_bytes(b"")
        with pytest.raises(CheckpointError, match="step_1.pt"):
            gs.track(tmp_path, Small(), X)


class TestSidecar:
    def test_what_was_found_is_found_again(self, run, found, tmp_path, monkeypatch):
        first = gs.track(run, Small(), X, sidecar=tmp_path / "kept")
        monkeypatch.setattr(workers, "snapshot_of", _never)
        again = gs.track(run, Small(), X, sidecar=tmp_path / "kept")
        assert first.to_dict() == again.to_dict() == found.to_dict()

    def test_other_files_and_options_are_not_found(self, run, tmp_path):
        gs.track(run, Small(), X, sidecar=tmp_path)
        count = len(list(tmp_path.glob("*.snapshot")))
        assert count == 9
        gs.track(run, Small(), X, sidecar=tmp_path, resolution="channel")
        assert len(list(tmp_path.glob("*.snapshot"))) == 2 * count
        one = tmp_path / "step_000005.pt"
        for source in (run / "step_000005.pt", _changed(run / "step_000005.pt", tmp_path / "other.pt")):
            one.write_bytes(source.read_bytes())  # another content under the same name
            found = gs.track([run / "step_000000.pt", one], Small(), X, sidecar=tmp_path)
        assert len(list(tmp_path.glob("*.snapshot"))) == 2 * count + 1 and found.totals.loc[5, "kept"] == 1

    def test_a_pipe_is_skipped_and_not_waited_for(self, run, tmp_path):
        os.mkfifo(tmp_path / "step_000001.pt")
        found = gs.track([run / "step_000000.pt", tmp_path / "step_000001.pt"], Small(), X, sidecar=tmp_path / "kept")
        assert (
            list(found.skipped) == ["step_000001.pt"]
            and "neither a file nor a folder" in found.skipped["step_000001.pt"]
        )

    def test_a_damaged_entry_is_made_anew(self, run, found, tmp_path):
        gs.track(run, Small(), X, sidecar=tmp_path)
        for entry in tmp_path.glob("*.snapshot"):
            entry.write_bytes(entry.read_bytes()[:100])
        assert gs.track(run, Small(), X, sidecar=tmp_path).to_dict() == found.to_dict()

    def test_a_killed_run_goes_on_where_it_was(self, run, found, tmp_path):
        """The child is killed without notice after some steps; the next run reads only the others."""
        done = _killed_after(run, tmp_path, 3)
        assert 3 <= len(done) < 9
        steps: list[str] = []
        original = workers.snapshot_of
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(workers, "snapshot_of", lambda *args: steps.append("read") or original(*args))
            again = gs.track(run, Small(), X, sidecar=tmp_path)
        assert again.to_dict() == found.to_dict() and len(steps) == 9 - len(done)


def _killed_after(run: Path, sidecar: Path, count: int) -> list[Path]:
    """The entries that a child leaves that is killed once there are so many."""
    sidecar.mkdir(exist_ok=True)
    child = os.fork()  # it has all that is imported and compiled
    if child == 0:
        try:
            original = workers.snapshot_of
            workers.snapshot_of = lambda *args: (time.sleep(0.1), original(*args))[1]
            gs.track(run, Small(), X, sidecar=sidecar)
        finally:
            os._exit(0)
    while len(list(sidecar.glob("*.snapshot"))) < count:
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return list(sidecar.glob("*.snapshot"))


def _never(*args):
    raise AssertionError("read again")


def _changed(path: Path, target: Path) -> Path:
    state = torch.load(path, weights_only=True)
    for name in NAMES:
        state[name].zero_()
    state["fc1.weight"][0, 0] = 1
    torch.save(state, target)
    return target


@pytest.fixture
def scheduler(tmp_path):
    """The address of a scheduler that has one worker, each a process of its own."""
    about = tmp_path / "scheduler.json"
    started = [_started(f"distributed.cli.dask_{name}", "--scheduler-file", str(about), "--no-dashboard", *more)
               for name, more in (("scheduler", ("--host", "127.0.0.1", "--port", "0")), ("worker", ("--no-nanny",)))]  # fmt: skip
    try:
        for _ in range(600):
            if about.exists():
                break
            time.sleep(0.1)
        yield json.loads(about.read_text())["address"]
    finally:
        for process in started:
            process.kill()  # a worker that is asked to stop waits for its scheduler
            process.wait()


def _started(module: str, *options: str) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join([str(Path(gs.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", module, *options], env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


class TestSideBySide:
    @pytest.mark.parametrize("options", [{"jobs": 3, "processes": False}, {"jobs": 2}], ids=["threads", "processes"])
    def test_jobs_change_nothing(self, run, found, tmp_path, options):
        seen: list[tuple[int, int]] = []
        several = gs.track(run, Small(), X, sidecar=tmp_path, progress=lambda *done: seen.append(done), **options)
        assert several.to_dict() == found.to_dict()
        assert seen == [(n, 9) for n in range(1, 10)]

    def test_a_cluster_of_other_processes_changes_nothing(self, run, found, scheduler, tmp_path):
        distributed = pytest.importorskip("distributed")
        assert gs.track(run, Small(), X, cluster=scheduler).to_dict() == found.to_dict()
        with distributed.Client(scheduler) as client:
            assert gs.track(run, Small(), X, cluster=client).to_dict() == found.to_dict()
            assert client.status == "running"  # what is given stays open
        command = [
            "track",
            str(run),
            "--model",
            "tests.dynamic_training:Small",
            "--input",
            "1x8x8",
            "--json",
            str(tmp_path / "run.json"),
        ]
        with pytest.raises(SystemExit, match="0"):
            main([*command, "--cluster", scheduler])
        assert json.loads((tmp_path / "run.json").read_text())["steps"] == found.to_dict()["steps"]

    def test_no_jobs(self, run):
        with pytest.raises(gs.ArgumentError, match="jobs must not be 0"):
            gs.track(run, Small(), X, jobs=0)


class WithTable(nn.Module):
    """What is alive depends on a buffer: its zeros cut."""

    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False)
        self.register_buffer("chosen", torch.ones(3))

    def forward(self, x):
        return self.out(self.fc(x) * self.chosen)


class TestModels:
    def test_a_live_model_stays_as_it_is(self, run):
        model = Small()
        before = {name: each.clone() for name, each in model.state_dict().items()}
        gs.track(run, model, X)
        assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
        assert all(parameter.requires_grad for parameter in model.parameters())

    def test_a_network_takes_the_model_s_place(self, run, found):
        assert gs.track(run, gs.network(Small(), X)).to_dict() == found.to_dict()

    def test_tied_parameters_stay_tied(self):
        model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False))
        model[2].weight = model[0].weight
        half = torch.triu(torch.ones(4, 4)) * model[0].weight.detach()
        found = gs.track({1: {"0.weight": half, "2.weight": half}}, model, torch.zeros(1, 4))
        assert found.totals["connections"].tolist() == [16]

    def test_a_buffer_that_may_decide_is_looked_at(self):
        states = {}
        for step, chosen in enumerate(([1.0, 1, 1], [1.0, 0, 1])):
            model = WithTable()
            model.chosen.copy_(torch.tensor(chosen))
            states[step] = model.state_dict()
        alone = [gs.analyze(state, WithTable(), torch.zeros(1, 4)).summary["active"] for state in states.values()]
        assert gs.track(states, WithTable(), torch.zeros(1, 4)).totals["active"].tolist() == alone

    def test_folders_of_a_trainer_need_no_model(self, tmp_path):
        hf = pytest.importorskip("transformers")
        tiny = {"hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 1, "num_attention_heads": 2}
        torch.manual_seed(0)
        model = hf.LlamaForCausalLM(hf.LlamaConfig(**tiny, vocab_size=30, num_key_value_heads=1))
        for step in (500, 1000):
            for parameter in model.parameters():
                parameter.data[torch.rand(parameter.shape) < 0.4 * (parameter.dim() > 1)] = 0
            model.save_pretrained(tmp_path / f"checkpoint-{step}")
            torch.save({"state": torch.ones(3)}, tmp_path / f"checkpoint-{step}" / "optimizer.pt")
        found = gs.track(tmp_path, sidecar=tmp_path / "kept")
        for step in (500, 1000):
            alone = gs.analyze(tmp_path / f"checkpoint-{step}").summary
            assert found.totals.loc[step, ["kept", "active"]].tolist() == [alone["kept"], alone["active"]]
        assert found.totals["died"].tolist()[1] > 0 and len(list((tmp_path / "kept").iterdir())) == 2

    def test_checkpoints_of_lightning(self, run, found, tmp_path):
        for epoch, path in enumerate(sorted(run.glob("*.pt"))[:3]):
            state = {"epoch": epoch, "state_dict": torch.load(path, weights_only=True), "optimizer_states": []}
            torch.save(state, tmp_path / f"epoch={epoch}-step={5 * epoch}.ckpt")
        torch.save(state, tmp_path / "last.ckpt")
        again = gs.track(tmp_path, Small(), X)
        assert again.totals["active"].tolist() == found.totals["active"].tolist()[:3]
        assert again.steps == (0, 5, 10) and again.notes == ("Left out, their names tell no step: last.ckpt.",)


class TestValue:
    def test_files(self, found, tmp_path):
        found.to_csv(tmp_path / "run.csv")
        found.to_parquet(tmp_path / "run.parquet")
        back = pandas.read_parquet(tmp_path / "run.parquet")
        pandas.testing.assert_frame_equal(back, found.frame, check_dtype=False)
        assert pandas.read_csv(tmp_path / "run.csv").shape == found.frame.shape == (9 * 4, len(found.frame.columns))
        plain = json.loads(found.to_json())
        assert len(plain["steps"]) == 36 and plain["steps"][0]["overlap_before"] is None

    def test_shown(self, found):
        assert "9 steps, 0 to 40" in repr(found) and "<table" in found._repr_html_()

"""Folders with a config.json that a stranger wrote: what they may not start, ask, fetch or cost."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest

hf = pytest.importorskip("transformers")

HOUSE = Path(__file__).parents[2]
TINY = {"hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**TINY, "vocab_size": 70, "max_position_embeddings": 32}
IMAGE = {**TINY, "image_size": 16, "patch_size": 4}
LLAVA = {
    "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava",
    "text_config": {"model_type": "blip_text_model", "auto_map": {"AutoModel": "evil.Model", "AutoConfig": "evil.C"}},
}  # fmt: skip
LABELS = {"id2label": None, "label2id": None}

GROWN = {  # {case: (folder, what is changed, what the one line says)}
    "layers": ("llama", {"num_hidden_layers": 20_000}, "size of the tensors beside it"),
    "a list of layers": ("llama", {"num_hidden_layers": 10**9}, "num_hidden_layers 1000000000"),
    "labels": ("vit", {"num_labels": 10**8, **LABELS}, "num_labels 100000000"),
    "an image": ("vit", {"image_size": 20_000}, "at most 67,108,864 numbers"),
    "a larger image": ("vit", {"image_size": 10**6}, "at most 67,108,864 numbers"),
    "channels": ("vit", {"num_channels": 10**9}, "num_channels 1000000000"),
}
WRONG = {
    "three sides": ("vit", {"image_size": [8, 8, 8]}, "channels, a height and a width"),
    "one side": ("vit", {"image_size": [16]}, "a config.json must describe a model"),
    "a negative side": ("vit", {"image_size": -8}, "channels, a height and a width"),
    "no channels": ("vit", {"num_channels": 0}, "channels, a height and a width"),
    "a type that is none": ("llama", {"model_type": 3}, "a config.json must describe a model"),
    "a scaling that is none": ("llama", {"rope_scaling": {"rope_type": "evil"}}, "a config.json must describe a model"),
    "a question inside": ("llama", LLAVA, "a config.json must describe a model"),
}
HARMLESS = {
    "code beside": ("llama", {"auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.Model"}}),
    "a kernel of the hub": ("llama", {"attn_implementation": "evil/kernel", "_attn_implementation": "evil/kernel"}),
    "flash attention": ("llama", {"attn_implementation": "flash_attention_2"}),
    "a kernel of the hub inside": ("llama", {"_attn_implementation_internal": "evil/kernel", "use_kernels": True}),
}

RUN = """
    import json, resource, sys
    import graphsparse as gs
    resource.setrlimit(resource.RLIMIT_AS, (10 << 30, 10 << 30))
    gs.analyze(sys.argv[1])  # what an ordinary folder takes
    for folder in sys.argv[2:]:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            found = gs.analyze(folder).summary["active"]
        except gs.errors.GraphsparseError as error:
            found = str(error)
        except BaseException as error:
            found = ["foreign", repr(error)]
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(json.dumps({"folder": folder, "found": found, "kilobytes": grown}), flush=True)
    print(json.dumps({"folder": "stdin", "found": sys.stdin.readline()}))
"""
KERNELS = """
    import os
    __path__ = [os.path.dirname(__file__)]
    def get_kernel(*args, **kwargs):
        open(os.environ["CANARY"], "a").write(f"fetched {args}")
        raise ImportError("no kernel")
    def use_kernelized_func(*functions): return lambda cls: cls
    class Anything:
        def __init__(self, *args, **kwargs): pass
        def __call__(self, *args, **kwargs): return args[0] if args and callable(args[0]) else Anything()
    def __getattr__(name):
        if name.startswith("__"): raise AttributeError(name)
        return Anything()
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict[str, dict]:
    """What one process finds in every folder, with a package `kernels` installed and somebody who says yes to all."""
    place = tmp_path_factory.mktemp("folders")
    hf.LlamaForCausalLM(hf.LlamaConfig(**TEXT)).save_pretrained(place / "llama")
    hf.ViTForImageClassification(hf.ViTConfig(**IMAGE)).save_pretrained(place / "vit")
    folders = [made(place, name, *case[:2]) for name, case in {**WRONG, **HARMLESS, **GROWN}.items()]
    stub(place / "site")
    env = {
        **os.environ, "CANARY": str(place / "canary"), "PYTHONPATH": os.pathsep.join([str(HOUSE), str(place / "site")]),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RUN), str(place / "llama"), *map(str, folders)],
        input="yes 1\nyes 2\nyes 3\n", capture_output=True, text=True, timeout=300, env=env, cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = {Path(row["folder"]).name: row for row in map(json.loads, re.findall(r"\{.*\}", done.stdout))}
    canary = place / "canary"
    return {
        **found,
        "canary": {"found": canary.read_text() if canary.exists() else ""},
        "printed": {"found": done.stdout + done.stderr},
    }


def made(place: Path, name: str, source: str, change: dict) -> Path:
    """A copy of an honest folder with another configuration, and code that leaves a trace if anybody runs it."""
    folder = place / name
    shutil.copytree(place / source, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(change if "architectures" in change else {**config, **change}))
    trace = "import os\nopen(os.environ['CANARY'], 'a').write('evil.py ran')\n"
    (folder / "evil.py").write_text(trace)
    return folder


def stub(site: Path) -> None:
    """A package `kernels` that says when something is fetched with it."""
    for part in ("kernels", "kernels/layer"):
        (site / part).mkdir(parents=True)
        (site / part / "__init__.py").write_text(textwrap.dedent(KERNELS))
    (site / "kernels/layer/mode.py").write_text("class Mode:\n    INFERENCE = TRAINING = None\n")
    (site / "kernels-0.18.5.dist-info").mkdir()
    (site / "kernels-0.18.5.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: kernels\nVersion: 0.18.5\n")


@pytest.mark.parametrize("name", [*WRONG, *GROWN])
def test_a_configuration_that_is_wrong_or_too_large_is_one_line(seen, name):
    found, text = seen[name]["found"], {**WRONG, **GROWN}[name][2]
    assert isinstance(found, str) and text in found and "\n" not in found and len(found) < 600


@pytest.mark.parametrize("name", GROWN)
def test_sizes_in_a_configuration_take_no_memory(seen, name):
    assert seen[name]["kilobytes"] < 64 << 10


@pytest.mark.parametrize("name", HARMLESS)
def test_names_of_code_and_kernels_are_not_looked_at(seen, name):
    """The model is transformers' own, with torch's attention; the network is the honest one's."""
    assert seen[name]["found"] == 2 * (4 * 12 * 12 + 3 * 12 * 20) + 2 * 70 * 12


def test_nothing_was_run_asked_or_fetched(seen):
    assert seen["canary"]["found"] == ""
    assert seen["stdin"]["found"] == "yes 1\n"
    assert "run the custom code" not in seen["printed"]["found"]

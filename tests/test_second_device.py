"""Everything that runs on a GPU, on a device that stands in for one: `on_second_device` has the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
    pytest.skip("torch knows no devices of Python before 2.10", allow_module_level=True)


def test_models_masks_and_sweeps_on_a_device_that_is_not_the_cpu():
    here = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:logging", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [*command, here / "on_second_device.py"], cwd=here.parent, capture_output=True, text=True,
        env={**os.environ, "SECOND_DEVICE": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-6000:]

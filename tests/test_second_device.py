"""Everything that runs on a GPU, on a device that stands in for one: `on_second_device` has the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip(
    "torch.utils.backend_registration", reason="torch knows no devices of Python before 2.10"
).__dict__.get("_setup_privateuseone_for_python_backend") or pytest.skip(
    "torch knows no devices of Python before 2.10", allow_module_level=True
)


def test_models_masks_and_sweeps_on_a_device_that_is_not_the_cpu():
    here = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:logging", "-p", "no:cacheprovider"]
    ended = subprocess.run([*command, here / "on_second_device.py"], cwd=here.parent, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-6000:]

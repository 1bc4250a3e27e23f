"""Importing the suite keeps the libraries that it uses from reporting to their makers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vireid.core.no_telemetry import VARIABLES

SETTINGS = "import os; print(*(os.environ.get(name) for name in sys.argv[1:]))"


def run(code: str, **variables: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    command = [sys.executable, "-c", f"import sys, vireid; {code}", *VARIABLES]
    done = subprocess.run(command, env={**kept, **variables}, capture_output=True, text=True, check=True, timeout=300)
    return done.stdout.strip()


def test_variables_are_set_for_this_process_and_its_children() -> None:
    assert run(SETTINGS).split() == list(VARIABLES.values())


def test_who_sets_a_variable_has_the_last_word() -> None:
    assert run(SETTINGS, ORT_DISABLE_TELEMETRY="0").split()[0] == "0"


def test_openvino_and_nncf_have_a_stub_in_place_of_their_statistics() -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    code = "from nncf.telemetry import wrapper; from openvino.tools.ovc import telemetry_utils as t;"
    code += "print(type(wrapper.telemetry).__name__, t.tm.__name__)"
    assert run(code).split() == ["MagicMock", "openvino.tools.ovc.telemetry_stub"]


def test_the_installed_onnx_runtime_knows_the_variable_if_it_reports() -> None:
    """A version that renames the switch must be seen here, not by a user's firewall."""
    onnxruntime = pytest.importorskip("onnxruntime")
    libraries = [path.read_bytes() for path in Path(onnxruntime.__file__).parent.rglob("*.so*")]
    assert libraries
    assert all(b"ORT_DISABLE_TELEMETRY" in library for library in libraries if b"OneCollector" in library)

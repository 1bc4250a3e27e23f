"""OpenVINO's intermediate representation (``.xml`` with the graph, ``.bin`` with its weights) of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vireid.core.extras import optional_module

SECTION = "vireid"  # of the IR's ``rt_info``, which holds the metadata


def write_ir(onnx: bytes, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write ``path`` (``….xml``) and the ``.bin`` beside it, weights in float32.

    Raises:
        UserError: OpenVINO is not installed.
    """
    save_ir(optional_module("openvino", "deploy").Core().read_model(onnx), path, metadata)


def save_ir(model: Any, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write an OpenVINO model that is in memory, floating-point weights as they are."""
    for key, value in (metadata or {}).items():
        model.set_rt_info(value, [SECTION, key])
    optional_module("openvino", "deploy").save_model(model, path, compress_to_fp16=False)

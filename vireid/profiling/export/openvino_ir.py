"""OpenVINO's intermediate representation (``.xml`` with the graph, ``.bin`` with its weights) of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vireid.core.extras import optional_module

SECTION = "vireid"  # of the IR's ``rt_info``, which holds the metadata


def write_ir(onnx: bytes, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write ``path`` (``….xml``) and the ``.bin`` beside it, weights in float32.

    Raises:
        UserError: OpenVINO is not installed.
    """
    library = optional_module("openvino", "deploy")
    model = library.Core().read_model(onnx)
    for key, value in (metadata or {}).items():
        model.set_rt_info(value, [SECTION, key])
    library.save_model(model, path, compress_to_fp16=False)

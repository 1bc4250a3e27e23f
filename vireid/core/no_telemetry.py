"""Nothing that runs here calls home: libraries that do so by default are told not to, before they are imported.

What a researcher evaluates, and on which machine, is not for others to know, and a thread that uploads takes its part
of a measured latency. Who sets one of the variables has the last word.
"""

import os
import sys

VARIABLES = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime from 1.29 on, Linux too: hashes of graphs and weights, names of files
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
STATISTICS = "openvino_telemetry"  # of OpenVINO's converter and NNCF, which have a stub in its place and no variable


def no_telemetry() -> None:
    """Set the variables, and leave OpenVINO and NNCF without the package that they report with."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    sys.modules.setdefault(STATISTICS, None)  # type: ignore[arg-type]  # reads as: not installed

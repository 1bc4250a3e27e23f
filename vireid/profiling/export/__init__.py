"""A deployed graph as files for other runtimes: ONNX, OpenVINO's IR, and its weights, each checked against eager."""

"""What a deployed model costs: parameters, MACs, latency, memory, and the machine they were measured on."""

from vireid.core.registry import Registry

COUNTERS = Registry(
    "counter",
    {
        "torch": "vireid.profiling.counters.libraries:TorchCounter",
        "fvcore": "vireid.profiling.counters.libraries:FvcoreCounter",
        "thop": "vireid.profiling.counters.libraries:ThopCounter",
    },
)
RUNTIMES = Registry(
    "runtime",
    {
        "eager": "vireid.profiling.runtimes.eager:Eager",
        "channels_last": "vireid.profiling.runtimes.eager:ChannelsLast",
        "compile": "vireid.profiling.runtimes.compile:Compile",
        "onnxruntime": "vireid.profiling.runtimes.onnxruntime:OnnxRuntime",
        "openvino": "vireid.profiling.runtimes.openvino:OpenVino",
        "ncnn": "vireid.profiling.runtimes.ncnn:Ncnn",
        "executorch": "vireid.profiling.runtimes.executorch:ExecuTorch",
        "cuda": "vireid.profiling.runtimes.eager:Cuda",
        "tensorrt": "vireid.profiling.runtimes.onnxruntime:TensorRT",
    },
    {
        "eager": "vireid.profiling.config:EagerConfig",
        "channels_last": "vireid.profiling.config:ChannelsLastConfig",
        "compile": "vireid.profiling.config:CompileConfig",
        "onnxruntime": "vireid.profiling.config:OnnxRuntimeConfig",
        "openvino": "vireid.profiling.config:OpenVinoConfig",
        "ncnn": "vireid.profiling.config:NcnnConfig",
        "executorch": "vireid.profiling.config:ExecuTorchConfig",
        "cuda": "vireid.profiling.config:CudaConfig",
        "tensorrt": "vireid.profiling.config:TensorRTConfig",
    },
)

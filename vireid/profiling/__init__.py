"""What a deployed model costs: parameters, MACs, latency, memory, and the machine they were measured on."""

from vireid.core.registry import Registry

COUNTERS = Registry(
    "counter",
    {
        "torch": "vireid.profiling.counters.torch_counter:TorchCounter",
        "fvcore": "vireid.profiling.counters.fvcore_counter:FvcoreCounter",
        "thop": "vireid.profiling.counters.thop_counter:ThopCounter",
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
        "tensorrt": "vireid.profiling.runtimes.tensorrt:TensorRT",
    },
    {
        "eager": "vireid.profiling.runtimes.config:EagerConfig",
        "channels_last": "vireid.profiling.runtimes.config:ChannelsLastConfig",
        "compile": "vireid.profiling.runtimes.config:CompileConfig",
        "onnxruntime": "vireid.profiling.runtimes.config:OnnxRuntimeConfig",
        "openvino": "vireid.profiling.runtimes.config:OpenVinoConfig",
        "ncnn": "vireid.profiling.runtimes.config:NcnnConfig",
        "executorch": "vireid.profiling.runtimes.config:ExecuTorchConfig",
        "cuda": "vireid.profiling.runtimes.config:CudaConfig",
        "tensorrt": "vireid.profiling.runtimes.config:TensorRTConfig",
    },
)

"""What a processor computes in natively, by its flags and by what the environment allows kernels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vireid.config import ExperimentConfig
from vireid.core import processor
from vireid.core.errors import UserError
from vireid.core.processor import (
    cpu_flags,
    emulated,
    integer_kernels,
    kernel_flags,
    kernels_held_to,
    kernels_of_runtime,
    limiting,
)
from vireid.experiment import identity, records
from vireid.experiment.cost import profile
from vireid.experiment.identity import RunIds
from vireid.experiment.records import check_precisions
from vireid.overrides import compose
from vireid.profiling.device import describe_device

AVX2 = "sse4_2 avx avx2 fma f16c"
STRONG = f"{AVX2} avx_vnni avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16"


def machine(root: Path, flags: str, name: str = "flags") -> Path:
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(f"model name\t: Some CPU\n{name}\t\t: {flags}\n")
    return root


def small(*overrides: str) -> ExperimentConfig:
    return compose(["data=sysu_quick", "model=idkl_small", "recipe=smoke", *overrides])


@pytest.mark.parametrize(
    ("flags", "bf16", "fp16"),
    [
        (AVX2, False, False),
        (f"{AVX2} avx512f avx512_vnni", False, False),  # oneDNN computes bf16 there by way of float32
        (f"{AVX2} avx512f avx512_bf16", True, False),
        (STRONG, True, True),
        ("asimd asimddp", False, False),
        ("asimd bf16 i8mm", True, False),
        ("asimd asimdhp", False, True),
        ("", False, False),
    ],
)
def test_native_are_the_precisions_with_instructions(tmp_path: Path, flags: str, bf16: bool, fp16: bool) -> None:
    root = machine(tmp_path, flags, "Features" if flags.startswith("asimd") else "flags")
    for precision, native in (("bf16", bf16), ("fp16", fp16), ("fp32", True), ("int8", True)):
        assert (emulated(precision, root, {}) is None) == native, precision
    if not bf16:
        assert emulated("bf16", root, {}) == "Some CPU has no bfloat16 instructions (avx512_bf16, amx_bf16, bf16)"


@pytest.mark.parametrize(
    ("level", "left"),
    [
        ("", STRONG),
        ("DEFAULT", STRONG),
        ("AVX2", AVX2),
        ("avx2_vnni", f"{AVX2} avx_vnni"),
        ("AVX512_CORE_VNNI", f"{AVX2} avx_vnni avx512f avx512_vnni"),
        ("AVX512_CORE_BF16", f"{AVX2} avx_vnni avx512f avx512_vnni avx512_bf16"),
        ("AVX512_CORE_AMX", STRONG),
    ],
)
@pytest.mark.parametrize("variable", processor.LIMITS)
def test_the_environment_holds_kernels_to_a_level(tmp_path: Path, variable: str, level: str, left: str) -> None:
    root = machine(tmp_path, STRONG)
    assert kernel_flags(root, {variable: level}) == set(left.split())
    reason = emulated("bf16", root, {variable: level})
    assert (reason is None) == ("bf16" in left)
    if reason is not None:
        assert f"under {variable}={level.upper()}" in reason, (
            "the processor could, and the message says what forbids it"
        )


@pytest.mark.parametrize(
    ("flags", "kernels"),
    [
        (STRONG, "vnni"),
        (f"{AVX2} avx512f avx512_vnni", "vnni"),
        (f"{AVX2} avx512f amx_tile amx_int8", "vnni"),
        (f"{AVX2} avx512f", "avx512"),
        (f"{AVX2} avx_vnni avx512f", "avx512"),  # AVX-512's kernels stand above AVX-VNNI's
        (f"{AVX2} avx_vnni", "vnni"),
        (AVX2, "avx2"),
        ("asimd asimddp", "neon_dotprod"),
        ("asimd", "neon"),
        ("sse4_2 avx", "unknown"),
        ("", "unknown"),
    ],
)
def test_int8_is_summed_by_the_best_instructions_there_are(flags: str, kernels: str) -> None:
    assert integer_kernels(flags.split()) == kernels


def test_a_limit_counts_for_runtimes_that_obey_it() -> None:
    device = {"isa": STRONG.split(), "kernel_isa": AVX2.split()}
    assert kernels_of_runtime("openvino", device) == "avx2"
    assert kernels_of_runtime("onnxruntime", device) == "vnni", "it asks the processor itself"
    assert kernels_of_runtime("openvino", {"isa": STRONG.split()}) == "vnni", "older records name no limit"
    assert kernels_of_runtime("openvino", {}) == "unknown"


@pytest.mark.parametrize(
    ("runtime", "one_dnn", "aten", "held"),
    [
        ("eager", STRONG, "AVX512", ""),
        ("eager", None, "AVX512", ""),
        ("eager", AVX2, "AVX2", "AVX2"),
        ("eager", None, "AVX2", "AVX2"),  # an older record, which names no limit of oneDNN's
        ("compile", STRONG, "AVX2", "AVX2 in ATen alone"),
        ("channels_last", AVX2, "AVX512", "AVX2 in oneDNN alone"),
        ("eager", "sse4_2", "DEFAULT", "SSE41 in oneDNN and DEFAULT in ATen"),
        ("openvino", AVX2, "AVX512", "AVX2"),
        ("openvino", STRONG, "AVX2", ""),
        ("openvino", f"{AVX2} avx512f", "AVX512", "AVX512_CORE"),
        ("openvino", None, "AVX2", ""),
        ("onnxruntime", AVX2, "AVX2", ""),
        ("ncnn", AVX2, "AVX2", ""),
    ],
)
def test_kernels_that_a_latency_was_held_to(runtime: str, one_dnn: str | None, aten: str, held: str) -> None:
    device = {"isa": STRONG.split(), "torch_cpu_capability": aten}
    device |= {} if one_dnn is None else {"kernel_isa": one_dnn.split()}
    assert kernels_held_to(runtime, device) == held


@pytest.mark.parametrize("level", ["SSE41", "AVX2", "AVX512_CORE", "AVX512_CORE_BF16"])
def test_the_variables_hold_kernels_to_what_the_name_says(tmp_path: Path, level: str) -> None:
    root = machine(tmp_path, STRONG)
    usable = kernel_flags(root, {"ONEDNN_MAX_CPU_ISA": level})
    device = {"isa": STRONG.split(), "kernel_isa": sorted(usable), "torch_cpu_capability": "AVX512"}
    held = kernels_held_to("openvino", device)
    assert kernel_flags(root, limiting(held)) == usable
    assert limiting(kernels_held_to("eager", device)) == {"ONEDNN_MAX_CPU_ISA": level}
    assert limiting("AVX2") == {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    assert limiting("AVX2 in ATen alone") == {"ATEN_CPU_CAPABILITY": "avx2"}
    assert limiting("") == {}


@pytest.mark.parametrize(("runtime", "obeys"), [("eager", True), ("openvino", True), ("onnxruntime", False)])
def test_a_latency_of_limited_kernels_is_another_one(
    runtime: str, obeys: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a study under a limit would take the figures of the whole processor for its own."""
    config = small(f"profile.runtimes=[{{name: {runtime}}}]", "profile.threads=[1]")

    def ids(usable: str, aten: str) -> list[str]:
        device = {**describe_device(), "isa": STRONG.split(), "kernel_isa": usable.split()}
        monkeypatch.setattr(profile, "_description", lambda: {**device, "torch_cpu_capability": aten})
        return [id_ for id_, _ in profile.forward_combinations(config, "graph")]

    free, limited = ids(STRONG, "AVX512"), ids(AVX2, "AVX2")
    assert free
    assert set(free).isdisjoint(limited) if obeys else free == limited, runtime


def test_an_int8_evaluation_is_identified_by_kernels_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in processor.LIMITS:
        monkeypatch.delenv(variable, raising=False)
    config = small("evaluation.deployed=[{name: openvino, precision: int8}, {name: openvino, precision: fp32}]")
    (protocol, *_), (int8, fp32) = config.evaluation.protocols, config.evaluation.deployed
    monkeypatch.setattr(processor, "cpu_flags", lambda _root=None: frozenset(STRONG.split()))
    before = RunIds(config).deployed(protocol, int8), RunIds(config).deployed(protocol, fp32)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")
    assert RunIds(config).deployed(protocol, int8) == before[0], "still VNNI"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert RunIds(config).deployed(protocol, int8) != before[0]
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    monkeypatch.setattr(identity, "package_version", lambda _: "0.0.1")
    assert RunIds(config).deployed(protocol, int8) != before[0]
    assert RunIds(config).deployed(protocol, fp32) == before[1], "float32 is the same everywhere"


def test_a_record_says_which_instructions_its_kernels_could_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in processor.LIMITS:
        monkeypatch.delenv(variable, raising=False)
    assert describe_device()["kernel_isa"] == describe_device()["isa"]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    found = describe_device()
    assert not any(flag.startswith(("avx512", "amx")) for flag in found["kernel_isa"])
    assert set(found["isa"]) - set(found["kernel_isa"]) <= cpu_flags()


def test_training_and_deployed_evaluation_are_refused_or_emulated_by_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "emulated", lambda precision: None if precision == "fp32" else "Some CPU lacks it")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_precisions(small())
    with pytest.raises(UserError, match=r"^recipe.precision = bf16: Some CPU lacks it: set recipe.precision=fp32, or"):
        check_precisions(small("recipe.precision=bf16"))
    check_precisions(small("recipe.precision=bf16", "runtime.emulate=true"))
    with pytest.raises(UserError, match=r"fp16: its loss scaling is for accelerators.*set recipe.precision=fp32"):
        check_precisions(small("recipe.precision=fp16", "runtime.emulate=true"))
    deployed = "evaluation.deployed=[{name: openvino, precision: bf16}]"
    with pytest.raises(UserError, match=r"^evaluation.deployed = bf16: Some CPU lacks it"):
        check_precisions(small(deployed))
    check_precisions(small(deployed, "runtime.emulate=true"))


def test_that_a_precision_is_emulated_decides_no_identity() -> None:
    assert (
        RunIds(small("recipe.precision=bf16")).fit == RunIds(small("recipe.precision=bf16", "runtime.emulate=true")).fit
    )

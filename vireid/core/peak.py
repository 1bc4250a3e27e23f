"""The most arithmetic that a processor can do in a cycle, by its instruction sets: what no honest timing exceeds.

Upper bounds, not what any one processor reaches: of each instruction set the widest implementation on the market.
"""

from collections.abc import Collection

# Float32 operations (a multiply-add is two) per core and cycle: of the first that a processor has.
_FLOPS = (
    ("avx512f", 64),  # 16 lanes, two units
    ("fma", 32),  # AVX2: 8 lanes, two units
    ("avx", 16),  # a multiplication and an addition, 8 lanes each
    ("sse4_2", 16),  # 4 lanes, two of each
    ("sve", 64),  # up to 512 bits, two units
    ("asimd", 32),  # 4 lanes, up to four units
)
_UNKNOWN = 64
# How often more of these fit where the processor has instructions for them: the first that it has.
_FASTER = {
    "int8": (("amx_int8", 64), ("i8mm", 8)),
    "bf16": (("amx_bf16", 32), ("bf16", 4)),
    "fp16": (),
}
_NARROWER = {"int8": 4, "bf16": 2, "fp16": 2}  # lanes in a vector
FASTEST_MHZ = 6500.0  # of any processor on the market, where a machine does not tell its own


def operations_per_cycle(flags: Collection[str], precision: str) -> int:
    """Multiplications and additions per core and cycle, at most, on a processor with these flags.

    Args:
        flags: as ``vireid.core.processor.ISA_FLAGS`` names them; none where the system does not tell.
        precision: such as fp32 or int8; of an unknown one that of int8, the fastest.
    """
    base = next((flops for flag, flops in _FLOPS if flag in flags), _UNKNOWN)
    if precision == "fp32":
        return base
    kind = precision if precision in _FASTER else "int8"
    special = next((factor for flag, factor in _FASTER[kind] if flag in flags), 0)
    unknown = 64 if not flags else 0  # tiles cannot be ruled out
    return base * max(_NARROWER[kind], special, unknown)


def seconds_at_least(
    macs: float, flags: Collection[str], precision: str, cores: int, max_mhz: float | None = None
) -> float:
    """The shortest time in which so many multiply-accumulates can be done.

    Args:
        macs: of the whole batch.
        flags: of the processor.
        precision: of the products.
        cores: that work at once.
        max_mhz: highest clock; ``FASTEST_MHZ`` where it is not known.
    """
    return 2 * macs / (cores * (max_mhz or FASTEST_MHZ) * 1e6 * operations_per_cycle(flags, precision))

"""Whether the machine is a virtual one, whose host keeps clock, heat and power to itself."""

from __future__ import annotations

import re
from pathlib import Path

from .reading import text_of

FIRMWARE = "sys/class/dmi/id"
_NAMES = re.compile(
    r"qemu|kvm|vmware|virtualbox|\bxen\b|bochs|openstack|parallels|virtual machine|amazon ec2|google compute",
    re.IGNORECASE,
)


def virtual_machine(root: Path = Path("/")) -> str | None:
    """What says that this is a virtual machine; None where nothing does, which other systems than Linux never do."""
    flags = re.search(r"^flags\s*:(.*)$", text_of(root / "proc/cpuinfo") or "", re.MULTILINE)
    if flags and "hypervisor" in flags[1].split():
        return "the processor says that a hypervisor runs it"
    for name in ("product_name", "sys_vendor"):
        named = text_of(root / FIRMWARE / name) or ""
        if _NAMES.search(named):
            return f"its firmware calls it {named}"
    kind = text_of(root / "sys/hypervisor/type")
    if kind:
        return f"the kernel names the hypervisor {kind}"
    compatible = text_of(root / "proc/device-tree/hypervisor/compatible")
    return f"the device tree names the hypervisor {compatible.rstrip(chr(0))}" if compatible else None

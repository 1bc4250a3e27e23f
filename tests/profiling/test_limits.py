"""Limits: their names, and that they are applied or refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.profiling.config import ProfileConfig
from vireid.profiling.isolation import Limit, LimitRefusedError, MemoryGroup, here, join_group


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("1 core", Limit(1)),
        ("x86, 1 core", Limit(1, None, "x86")),
        ("arm, 4 cores, 512 MB", Limit(4, 512_000_000, "arm")),
        ("2 cores, 2 GB", Limit(2, 2_000_000_000)),
    ],
)
def test_a_limit_is_named_by_what_it_is(name: str, limit: Limit) -> None:
    assert Limit.parse(name) == limit
    assert limit.name == name


def test_one_limit_has_one_name() -> None:
    assert Limit.parse("2000 MB,  x86,3 cores").name == "x86, 3 cores, 2 GB"
    assert Limit.parse("1 cores").name == "1 core"


@pytest.mark.parametrize("text", ["Raspberry Pi 4", "x86", "0 cores", "1 core, fast", "", "-1 core", "1 core, 0 MB"])
def test_a_device_s_name_or_nonsense_is_no_limit(text: str) -> None:
    with pytest.raises(UserError, match="a limit is named by what it is"):
        Limit.parse(text)


def test_a_limit_of_another_architecture_is_refused() -> None:
    with pytest.raises(LimitRefusedError, match="is for arm, and this machine is x86_64"):
        here(Limit.parse("arm, 1 core"), "x86_64")
    assert here(Limit.parse("1 core"), "aarch64").name == "arm, 1 core"
    assert here(Limit.parse("x86, 1 core"), "AMD64").name == "x86, 1 core"
    assert here(Limit.parse("1 core"), "riscv64").name == "1 core"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limit": "Jetson"}, "profile: limit = 'Jetson': limit 'Jetson'"),
        ({"limit": "1 core", "threads": [2]}, "threads=2 is more than the 1 of limit '1 core'"),
        ({"sustained_seconds": 0}, "greater than 0"),
        ({"stages": {"galery": 5}}, "did you mean 'gallery'"),
    ],
)
def test_bad_ways_of_measuring_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(ProfileConfig, changes, "profile")


def test_a_limit_isolates_and_sets_the_threads() -> None:
    limited = parse(ProfileConfig, {"limit": "2 cores"}, "profile")
    assert limited.isolated
    assert limited.thread_counts(64) == [2]
    assert parse(ProfileConfig, {"limit": "2 cores", "threads": [1]}, "profile").thread_counts(64) == [1]
    free = parse(ProfileConfig, {"limit": "none"}, "profile")
    assert free == ProfileConfig()
    assert free.thread_counts(64) == [64]


def in_a_process(code: str) -> dict[str, Any]:
    """A limit cannot be taken back, so it is tried in a process that ends with it."""
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "import json, os\nfrom vireid.core.child import pin\nfrom vireid.profiling.isolation import *\n" + code,
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")


@needs_affinity
def test_a_pinned_process_runs_on_these_cores_only() -> None:
    usable = sorted(os.sched_getaffinity(0))
    found = in_a_process("told = pin(1); print(json.dumps({'told': told, 'is': sorted(os.sched_getaffinity(0))}))")
    assert found == {"told": [usable[-1:], None], "is": usable[-1:]}


@needs_affinity
def test_more_cores_than_there_are_is_refused() -> None:
    code = f"""
_, reason = pin({len(os.sched_getaffinity(0)) + 1})
print(json.dumps({{"reason": reason, "still": len(os.sched_getaffinity(0))}}))
"""
    found = in_a_process(code)
    assert "this process may use" in found["reason"]
    assert found["still"] == len(os.sched_getaffinity(0))


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux alone")
def test_memory_beyond_the_limit_cannot_be_had() -> None:
    code = """
limit_data(300_000_000)
small = bytearray(100_000_000)
try:
    large = bytearray(300_000_000)
except MemoryError:
    large = None
print(json.dumps({"small": len(small), "large": large is not None}))
"""
    assert in_a_process(code) == {"small": 100_000_000, "large": False}


class Groups:
    """A made-up hierarchy: user.slice hands memory control down, the scope below it does not."""

    def __init__(self, root: Path, delegate: str = "cpu memory") -> None:
        self.root = root / "cgroup"
        self.parent = self.root / "user.slice"
        (self.parent / "run.scope").mkdir(parents=True)
        for folder, control in ((self.root, ""), (self.parent, delegate), (self.parent / "run.scope", "")):
            (folder / "cgroup.subtree_control").write_text(control + "\n")
            (folder / "cgroup.procs").write_text("")
        (self.root / "cgroup.controllers").write_text("cpu memory\n")
        self.own = root / "own"
        self.own.write_text("0::/user.slice/run.scope\n")


def test_a_group_is_made_where_memory_control_is_handed_down(tmp_path: Path) -> None:
    groups = Groups(tmp_path)
    group = MemoryGroup(512_000_000, groups.root, groups.own)
    assert group.path.parent == groups.parent
    assert (group.path / "memory.max").read_text() == "512000000"
    assert group.killed() == 0
    (group.path / "memory.events").write_text("low 0\nhigh 0\noom 2\noom_kill 1\n")
    assert group.killed() == 1
    (group.path / "cgroup.procs").write_text("")
    join_group(group.path)
    assert (group.path / "cgroup.procs").read_text() == str(os.getpid())


@pytest.mark.parametrize("hindrance", ["not delegated", "version 1", "no groups"])
def test_where_no_group_can_be_made_the_reason_is_given(tmp_path: Path, hindrance: str) -> None:
    groups = Groups(tmp_path, delegate="cpu" if hindrance == "not delegated" else "cpu memory")
    if hindrance == "version 1":
        groups.own.write_text("4:memory:/here\n")
    elif hindrance == "no groups":
        groups.own.unlink()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(LimitRefusedError, match=r"control group"):
        MemoryGroup(512_000_000, groups.root, groups.own)
    assert sorted(tmp_path.rglob("*")) == before


def test_joining_a_group_that_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LimitRefusedError, match="control group"):
        join_group(tmp_path / "gone")

"""`vireid profile --layers`: the table on a terminal and in a pipe, remarks, blocks, the picture."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tests.tiny import TINY
from vireid.cli.layers import OUTERMOST, SLOWEST, blocks, layers_table, remarks, write_picture
from vireid.core.errors import UserError
from vireid.profiling.layers import Layer, LayerProfile, Roofs

FAST = "profile.budget={warmup_seconds: 0.02, min_seconds: 0.02, min_repeats: 3, max_seconds: 0.5}"
LONG = "branch.attention.transformer.encoder.layers.{}.downsample.0"


def _profile(count: int) -> LayerProfile:
    layers = tuple(Layer(LONG.format(n), 1e-3 * (n + 1), 123_456_789 * n, 98_765_432) for n in range(count))
    total = sum(layer.seconds for layer in layers)
    return LayerProfile(
        "onnxruntime", "int8", 16, 32, "ok", None, layers, Layer("not attributed", 0.1 * total, 0, None),
        1.1 * total, total, Roofs(4321.5, 123.4), "ONNX Runtime's profile", ("noisy: for a reason",),
    )  # fmt: skip


def _shown(profile: LayerProfile) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=80, force_terminal=True, color_system=None).print(layers_table(profile, terminal=True))
    return output.getvalue().splitlines()


def test_a_terminal_shows_the_slowest_at_80_columns() -> None:
    lines = _shown(_profile(40))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert f"others ({40 - SLOWEST})" in text
    assert "not attributed" in text
    assert "…" not in text
    whole = next(line for line in lines if line.startswith("whole forward"))
    assert "100.0" in whole


def test_few_layers_are_all_shown() -> None:
    assert "others" not in "\n".join(_shown(_profile(SLOWEST + 1)))


def test_a_pipe_gets_every_layer_in_order_of_execution() -> None:
    profile = _profile(40)
    lines = [line for line in layers_table(profile, terminal=False).plain_lines() if not line.startswith("#")]
    rows = [line.split("\t") for line in lines]
    assert {len(row) for row in rows} == {8}
    assert [row[0] for row in rows[1:]] == [
        *(layer.module for layer in profile.layers),
        "not attributed",
        "whole forward",
    ]
    assert sum(float(row[1]) for row in rows[1:-1]) == pytest.approx(float(rows[-1][1]), rel=1e-3)


def test_remarks_say_what_the_layers_explain() -> None:
    lines = list(remarks(_profile(3)))
    assert lines[0] == "onnxruntime, int8, 16 threads, batch 32: layers explain 91 % of a forward of 6.60 ms"
    assert lines[-1] == "noisy: for a reason"
    untold = LayerProfile("ncnn", "fp32", 1, 1, "skipped", "it does not tell")
    assert list(remarks(untold)) == ["ncnn, fp32, 1 thread, batch 1: skipped: it does not tell"]


def test_a_block_is_a_layer_s_parent() -> None:
    layers = (
        Layer("", 1e-3, 0, None),
        Layer("stem", 1e-3, 10**9, 10),
        Layer("stem.conv", 2e-3, 10**9, 10),
        Layer("stem.pool", 4e-3, 0, 10**6),
        Layer("neck", 8e-3, 0, 10**6),
    )
    profile = LayerProfile(
        "eager", "fp32", 1, 1, "ok", None, layers, Layer("not attributed", 3e-3, 0, None), 19e-3, 19e-3,
        Roofs(100.0, 10.0),
    )  # fmt: skip
    times = blocks(profile)
    assert list(times) == [OUTERMOST, "stem", "neck", "not attributed"]
    assert times["stem"] == {"compute": pytest.approx(3), "memory": pytest.approx(4)}
    assert sum(value for parts in times.values() for value in parts.values()) == pytest.approx(19)


@pytest.mark.parametrize(("kind", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_picture_is_written(kind: str, begins: bytes, tmp_path: Path) -> None:
    file = tmp_path / f"layers.{kind}"
    write_picture([_profile(20), LayerProfile("ncnn", "fp32", 1, 1, "skipped", "no"), _profile(3)], file)
    content = file.read_bytes()
    assert content.startswith(begins)
    assert len(content) > 5000


def test_there_must_be_something_to_draw(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to draw"):
        write_picture([LayerProfile("ncnn", "fp32", 1, 1, "skipped", "no")], tmp_path / "layers.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--picture", "a.png"), "add --layers"), (("--layers", "--picture", "a.gif"), "no such kind of picture")],
)
def test_options_that_cannot_be_followed_are_refused(shell, options, message):
    result = shell.run("profile", *TINY, *options)
    assert result.returncode == 2
    assert message in result.stderr


def test_layers_of_a_configuration(shell):
    asked = ("profile", *TINY, FAST, "profile.runtimes=[{name: eager}]", "profile.batches=[1]", "profile.threads=[1]")
    result = shell.run(*asked, "--layers", "--picture", "layers.svg")
    assert result.returncode == 0, result.stderr
    names = [line.split("\t")[0] for line in result.stdout.splitlines()]
    assert "branch.layer3.0.conv2" in names
    assert "not attributed" in names
    assert "# eager, fp32, 1 thread, batch 1: layers explain" in result.stdout
    assert "branch.layer3.0" in (shell.folder / "layers.svg").read_text()

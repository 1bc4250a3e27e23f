"""What only a process of its own can show: the installed command, its exit codes, interruption, and its terminal."""

import os
import pty
import signal
import subprocess
import time

from tests.cli.conftest import COMMAND
from tests.tiny import TINY


def test_success_is_0_and_help_stands_on_standard_output(shell):
    result = shell.spawn("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("vireid ")
    assert result.stderr == ""


def test_bad_input_is_2_with_one_message_on_standard_error(shell):
    result = shell.spawn("config", "recipe.batchsize=8")
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert "did you mean 'batch_size'" in " ".join(result.stderr.split())


def test_a_failed_run_is_1(shell):
    short = "profile.budget={warmup_seconds: 0.02, min_seconds: 0.02, min_repeats: 5, max_seconds: 0.5}"
    result = shell.spawn("profile", *TINY, "profile.limit='1 core, 50 MB'", short)  # PyTorch alone is larger
    assert result.returncode == 1
    assert "failed: within '" in result.stdout


def test_an_interrupted_run_is_130_and_says_how_to_go_on(shell):
    """Interrupted while it writes the images of many people."""
    process = subprocess.Popen(
        [COMMAND, "train", *TINY, "data.synthetic.train_ids=400"],
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # ignored in the background
    )
    deadline = time.monotonic() + 120
    while not list(shell.store.rglob("*.jpg")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "the same command takes up where it stopped" in " ".join(errors.split())


def test_on_a_terminal_there_is_colour_and_through_a_pipe_plain_text(shell):

    environment = {key: value for key, value in shell.environment.items() if key != "COLUMNS"}
    reader, terminal = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "--help"], cwd=shell.folder, env={**environment, "TERM": "xterm"}, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    shown = b""
    try:
        while part := os.read(reader, 4096):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(reader)
    assert process.wait(timeout=60) == 0
    assert b"\x1b[" in shown
    piped = subprocess.run([COMMAND, "--help"], cwd=shell.folder, env=environment, capture_output=True, check=True)
    assert b"\x1b[" not in piped.stdout
    assert b"Usage" in piped.stdout

"""Measure the models of this bundle on this machine: ``python3 measure.py``; ``--help`` lists the options.

Checks the interpreter, the bundle's files and the two packages before anything of the bundle is imported, each with one
message and exit code 2. No annotations and no f-strings: an interpreter that is too old must be able to read as far as
its message.
"""

import sys

if sys.version_info < (3, 9):
    sys.stderr.write("error: Python 3.9 or newer is needed, and this is %d.%d; try python3\n" % sys.version_info[:2])
    sys.exit(2)

import hashlib
import importlib.util
import json
import os
import runpy
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it reports graphs and machine to its maker while measured

here = Path(__file__).resolve().parent
fault = ""
listed = []
try:
    bundle = json.loads((here / "bundle.json").read_bytes())
    stated = bundle.pop("digest")
    content = json.dumps(bundle, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    listed = sorted(bundle["files"].items())
    if hashlib.sha256(content.encode()).hexdigest() != stated:
        fault = "bundle.json was changed since the bundle was made"
except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
    fault = "bundle.json cannot be read (%s)" % error
for name, expected in listed:
    file = here / name
    if fault:
        break
    if not file.is_file():
        fault = "%s is missing" % name
    elif file.stat().st_size != expected["bytes"]:
        size = (name, file.stat().st_size, expected["bytes"])
        fault = "%s was cut short or changed: it has %d bytes, not %d" % size
    else:
        digest = hashlib.sha256()
        with file.open("rb") as stream:
            block = stream.read(1 << 20)
            while block:
                digest.update(block)
                block = stream.read(1 << 20)
        if digest.hexdigest() != expected["sha256"]:
            fault = "%s was changed since the bundle was made" % name
if fault:
    fault += "; copy the bundle to this machine again"
else:
    absent = [package for package in ("numpy", "onnxruntime") if importlib.util.find_spec(package) is None]
    if absent:
        command = "%s -m pip install %s" % (sys.executable, " ".join(absent))
        fault = "%s not installed for this Python; run: %s" % (" and ".join(absent), command)
if fault:
    sys.stderr.write("error: %s\n" % fault)
    sys.exit(2)

sys.path.insert(0, str(here))
runpy.run_module("measuring.bundle.device", run_name="__main__", alter_sys=True)

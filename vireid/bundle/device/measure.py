"""Measure the models of this bundle on this machine: ``python3 measure.py``; ``--help`` lists the options.

Checks the interpreter, the bundle's files and the two packages before anything of the bundle is imported, each with one
message. No annotations and no f-strings: an interpreter that is too old must be able to read as far as its message.
"""

import sys

if sys.version_info < (3, 9):
    sys.exit("error: Python 3.9 or newer is needed, and this is %d.%d; try python3" % sys.version_info[:2])

import hashlib
import importlib.util
import json
import runpy
from pathlib import Path

here = Path(__file__).resolve().parent
remedy = "copy the bundle to this machine again"
try:
    bundle = json.loads((here / "bundle.json").read_bytes())
    told = bundle.pop("digest")
    said = json.dumps(bundle, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    listed = sorted(bundle["files"].items())
except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
    sys.exit("error: bundle.json cannot be read (%s); %s" % (error, remedy))
if hashlib.sha256(said.encode()).hexdigest() != told:
    sys.exit("error: bundle.json was changed since the bundle was made; %s" % remedy)
for name, expected in listed:
    file = here / name
    if not file.is_file():
        sys.exit("error: %s is missing; %s" % (name, remedy))
    if file.stat().st_size != expected["bytes"]:
        size = (name, file.stat().st_size, expected["bytes"])
        sys.exit("error: %s was cut short or changed: it has %d bytes, not %d; %s" % (*size, remedy))
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    if digest.hexdigest() != expected["sha256"]:
        sys.exit("error: %s was changed since the bundle was made; %s" % (name, remedy))
absent = [package for package in ("numpy", "onnxruntime") if importlib.util.find_spec(package) is None]
if absent:
    command = "%s -m pip install %s" % (sys.executable, " ".join(absent))
    sys.exit("error: %s not installed for this Python; run: %s" % (" and ".join(absent), command))

sys.path.insert(0, str(here))
runpy.run_module("measuring.bundle.device", run_name="__main__", alter_sys=True)

#!/bin/sh
# Measures the models of this bundle: ./run --record out.json; ./run --help lists the options of measure.py.
# NumPy and ONNX Runtime are brought into env/ beside this file where Python lacks them.
set -e
export ORT_DISABLE_TELEMETRY="${ORT_DISABLE_TELEMETRY:-1}"
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
if [ -x "$here/env/bin/python" ]; then python=$here/env/bin/python; fi
if ! "$python" -c "import numpy, onnxruntime" 2>/dev/null; then
  echo "bringing NumPy and ONNX Runtime into $here/env"
  "${PYTHON:-python3}" -m venv "$here/env"
  python=$here/env/bin/python
  "$python" -m pip install --quiet numpy onnxruntime
fi
exec "$python" "$here/measure.py" "$@"

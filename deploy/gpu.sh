#!/usr/bin/env bash
# All that only a GPU can show, in less than 20 minutes on one H100: deploy/gpu.sh [FOLDER [STEP …]], the folder by default
# $OUT. It installs nothing: the Python that PYTHON names has to have torch, triton, transformers, safetensors,
# sentencepiece, pyarrow and pytest. Without a GPU the kernels are interpreted, at sizes of seconds. See docs/gpu.md.
set -euo pipefail
cd "$(dirname "$0")/.."

[[ $# -gt 0 || -n ${OUT:-} ]] || { echo "deploy/gpu.sh: expected a folder, or OUT set" >&2; exit 2; }
python=${PYTHON:-python3}
[[ -n ${PYTHON:-} || ! -x .venv/bin/python ]] || python=.venv/bin/python
exec "$python" -m jobs.measure.gpu "${@:-$OUT}"

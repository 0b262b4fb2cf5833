#!/usr/bin/env bash
# The encoder's tests with other builds of torch: deploy/torch_versions.sh [torch version …], by default the oldest and the
# newest that pyproject.toml allows. PYTHON chooses the interpreter, python3.12 say. Each version gets an environment of
# its own, which is gone afterwards; from PyPI that is some 5 GB with CUDA's libraries, though nothing here needs a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
versions=("$@")
[[ $# -gt 0 ]] || versions=(2.11.0 2.13.0)
places=$(mktemp -d)
trap 'rm -rf "$places"' EXIT

for version in "${versions[@]}"; do
  place=$places/$version constraints=$places/constraints-$version.txt
  # the interpreter of Triton 3.6, which torch 2.11 brings, fails with a later numpy (triton issue 9171)
  { grep -E '^(transformers|safetensors|sentencepiece|pyarrow|hypothesis|pytest)==' constraints.txt
    if [[ $version == 2.11.* ]]; then echo "numpy<2.4"; else grep '^numpy==' constraints.txt; fi; } >"$constraints"
  "$python" -m venv "$place"
  "$place/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$constraints" \
    "torch==$version" transformers safetensors sentencepiece pyarrow hypothesis pytest
  "$place/bin/python" -c 'import triton' 2>/dev/null || # a build for CPUs comes without
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check "$(grep '^triton==' constraints.txt)"
  "$place/bin/python" -c '
import platform, numpy, torch, triton
print(f"Python {platform.python_version()}, torch {torch.__version__}, Triton {triton.__version__}, numpy {numpy.__version__}")'
  # without pyproject.toml and conftest.py: their plug-ins, Ray and pydantic are not here; one file needs a fixture of it
  OMP_NUM_THREADS=1 "$place/bin/python" -m pytest -c /dev/null --rootdir . --noconftest -p no:cacheprovider -q \
    --import-mode=importlib --hypothesis-profile=ci --disable-warnings tests/bigbird tests/inference \
    --ignore tests/inference/test_isolated_predictor.py
done

#!/usr/bin/env bash
# Resolve envs/*.in to exact versions, for every platform, and write the conda environment from the same lock.
set -euo pipefail
cd "$(dirname "$0")"
uv="${UV:-uv}"
common=(--universal --python-version 3.11 --no-header --no-annotate --quiet)
"$uv" pip compile "${common[@]}" "$@" requirements.in -o requirements.txt
"$uv" pip compile "${common[@]}" requirements-s3.in -o requirements-s3.txt
"$uv" pip compile "${common[@]}" requirements-dev.in -o requirements-dev.txt
# CUDA libraries follow from the build of PyTorch that a machine gets, which pins them exactly; the CPU build needs none.
sed -i -E '/^(nvidia-|triton|cuda-)/d' requirements.txt requirements-s3.txt requirements-dev.txt
{
  echo "# Written by envs/lock.sh from requirements.txt; do not edit."
  echo "name: stratiome"
  echo "channels: [conda-forge, nodefaults]"
  echo "dependencies:"
  echo "  - python=3.11"
  echo "  - pip"
  echo "  - pip:"
  sed 's/^/      - "/; s/$/"/' requirements.txt
} >stratiome.yaml

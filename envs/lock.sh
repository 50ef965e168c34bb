#!/usr/bin/env bash
# Resolve envs/*.in to exact versions, for every platform, and write the conda environments of the stages from the lock.
set -euo pipefail
cd "$(dirname "$0")"
uv="${UV:-uv}"
python=3.11
common=(--universal --python-version "$python" --no-header --no-annotate --quiet)

# CUDA libraries follow from the build of PyTorch that a machine gets, which pins them exactly; the CPU build needs none.
without_cuda() { sed -i -E '/^(nvidia-|triton|cuda-)/d' "$1"; }

# Lines of requirements.txt that the packages of STAGE.in come down to.
pins() {
  local needed
  needed=$("$uv" pip compile "${common[@]}" "$1.in")
  awk -F '[=; ]' 'NR == FNR {needed[$1]; next} $1 in needed' <(echo "$needed") requirements.txt
}

"$uv" pip compile "${common[@]}" "$@" requirements.in -o requirements.txt
without_cuda requirements.txt
"$uv" pip compile "${common[@]}" "$@" requirements-s3.in -o requirements-s3.txt
without_cuda requirements-s3.txt
"$uv" pip compile "${common[@]}" "$@" requirements-dev.in -o requirements-dev.txt
without_cuda requirements-dev.txt
for stage in cohort models treatment report; do
  {
    echo "# Written by envs/lock.sh from $stage.in and requirements.txt; do not edit."
    echo "name: stratiome-$stage"
    echo "channels: [conda-forge, nodefaults]"
    echo "dependencies:"
    echo "  - python=$python"
    echo "  - pip"
    echo "  - pip:"
    pins "$stage" | sed 's/^/      - "/; s/$/"/'
  } >"$stage.yaml"
done

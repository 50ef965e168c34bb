#!/usr/bin/env bash
# Make the environment: install.sh FOLDER LOCK...
# Needs Python 3.11+ with venv and the package registry; uv is installed into the environment and does the rest.
# TORCH=cpu|auto|cu130|... chooses a build of PyTorch through uv; unset takes the registry's build.
set -euo pipefail
folder=$1
shift

die() {
  printf '\nStratiome: %s\n' "$1" >&2
  exit 1
}

find_python() {
  for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  die "Python 3.11, 3.12 or 3.13 was not found. Install one (Debian, Ubuntu: apt install python3 python3-venv), or name it: make demo PYTHON=/path/to/python3.11"
}

if ! "$folder/bin/python" -c '' 2>/dev/null; then
  python=$(find_python)
  rm -rf "$folder"
  "$python" -m venv "$folder" >/dev/null 2>&1 || {
    rm -rf "$folder"
    die "$python cannot make a virtual environment. Install its venv module (Debian, Ubuntu: apt install python3-venv)"
  }
fi

# uv does not read pip's settings: hand over those that say where packages come from.
setting() { # by `list`, since `get` finds nothing with the pip of Debian 12
  "$folder/bin/python" -m pip config list 2>/dev/null | sed -n "s/^global\.$1='\(.*\)'\$/\1/p" |
    sed 's/\\n/ /g; s/  */ /g; s/^ //; s/ $//' || true
}
export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-$(setting find-links)}}"
UV_FIND_LINKS="${UV_FIND_LINKS// /,}"
index="${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$(setting index-url)}}"
[ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
extra="${UV_INDEX:-${PIP_EXTRA_INDEX_URL:-$(setting extra-index-url)}}"
[ -z "$extra" ] || export UV_INDEX="$extra"
[ -n "$UV_FIND_LINKS" ] || unset UV_FIND_LINKS

locks=()
for lock in "$@"; do locks+=(-r "$lock"); done
[ -x "$folder/bin/uv" ] || "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "uv==0.12.24" ||
  die "the package registry could not be reached. Check the network, a proxy (HTTPS_PROXY) or pip's index-url"
backend=()
[ -z "${TORCH:-}" ] || backend=(--torch-backend "$TORCH")
echo "Installing packages (once; about half a minute, longer where PyTorch brings CUDA) ..." >&2
"$folder/bin/uv" pip install --quiet --compile-bytecode --index-strategy unsafe-best-match \
  --python "$folder/bin/python" "${backend[@]}" "${locks[@]}" || {
  [ -z "${TORCH:-}" ] || die "the packages could not be installed with TORCH=$TORCH; the message is above"
  echo "uv could not install them; trying pip ..." >&2
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "${locks[@]}" ||
    die "the packages could not be installed; the message is above"
}

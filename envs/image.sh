#!/usr/bin/env bash
# What both recipes of a container run, as root on Debian 12: image.sh TORCH, with TORCH as for install.sh.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive TORCH=$1 UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1
cd "$(dirname "$0")/.."
apt-get -qq update
# LightGBM, which econml uses, takes the OpenMP library of the system.
apt-get -qq install --yes --no-install-recommends ca-certificates libgomp1 python3 python3-venv
rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
envs/install.sh .venv envs/requirements.txt

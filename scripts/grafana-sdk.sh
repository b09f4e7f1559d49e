#!/bin/bash
# grafana-sdk.sh DIR: Grafana's foundation SDK for Python into DIR, whose types the board is checked against; of one version, with
# this sum. It is generated from the schemas of Grafana 11.6, and has the Apache licence.
set -euo pipefail
out=${1:?usage: grafana-sdk.sh DIR}
version='1759917919!11.6.0'
sum=681f8a0464b5f1a6ffc02bdb538b6190bb73f7d03cff8c3b6d71267c0ec6362b

[ "$(cat "$out/version" 2>/dev/null)" != "$version" ] || exit 0
rm -rf "$out"
mkdir -p "$out"
echo "grafana-foundation-sdk==$version --hash=sha256:$sum" >"$out/requirements"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action ignore --only-binary :all: \
    --require-hashes --requirement "$out/requirements" --target "$out"
echo "$version" >"$out/version"

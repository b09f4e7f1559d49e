#!/bin/bash
# axe.sh DIR: axe-core, which looks for barriers on a page, into DIR; one release of it, checked by its hash.
set -euo pipefail
out=${1:?usage: axe.sh DIR}
version=4.14.1
integrity=sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==

[ "$(cat "$out/version" 2>/dev/null)" != "$version" ] || exit 0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
(cd "$folder" && npm pack --silent "axe-core@$version" >/dev/null)
archive=$folder/axe-core-$version.tgz
found=sha512-$(openssl dgst -sha512 -binary "$archive" | base64 -w 0)
if [ "$found" != "$integrity" ]; then
    echo "axe-core $version is not what it was: $found instead of $integrity" >&2
    exit 1
fi
mkdir -p "$out"
tar -xzf "$archive" -C "$out" --strip-components=1 package/axe.min.js
echo "$version" >"$out/version"

# Fetches what the page at /docs is made of: sh requirements/assets.sh PYTHON, from the repository's root.
# The wheel is pinned by its hash in assets.txt; pip finds it wherever it finds everything else.
set -eu
python="$1"
assets=src/hermod/http/assets
unpacked="$(mktemp -d)"
trap 'rm -rf "$unpacked"' EXIT
"$python" -m pip --disable-pip-version-check --quiet install --no-deps --no-compile \
  --only-binary :all: --require-hashes --target "$unpacked" -r requirements/assets.txt
mkdir -p "$assets"
from="$unpacked/drf_spectacular_sidecar/static/drf_spectacular_sidecar/swagger-ui-dist"
cp "$from/LICENSE" "$assets/swagger-ui.LICENSE"
cp "$from/favicon-32x32.png" "$from/swagger-ui.css" "$assets"
# The Makefile looks for this one only, so it comes last.
cp "$from/swagger-ui-bundle.js" "$assets"

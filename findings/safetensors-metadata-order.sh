#!/usr/bin/env bash
# safetensors 0.8.0: the same tensors with the same metadata give other bytes in another process.
#
# One would guess that a file is decided by what is in it: tensors alone are (they are sorted), and stores that know
# artefacts by the sha256 of their files rely on it. Metadata of several entries is written in an order that differs from
# process to process, so that the hash of the file differs where all of its content is equal. One entry (a JSON text of
# everything, say) is safe.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.3.5
cat >"$folder/save.py" <<'PY'
from hashlib import sha256

import numpy as np
from safetensors.numpy import save

tensors = {f"layer{number}": np.zeros((2, 3), np.float32) for number in range(8)}
for metadata in (None, {"all": "one entry"}, {f"key{number}": str(number) for number in range(6)}):
    print(sha256(save(tensors, metadata=metadata)).hexdigest()[:12], end=" ")
print()
PY
for _ in 1 2 3 4 5 6 7 8; do "$folder/venv/bin/python" "$folder/save.py"; done >"$folder/hashes"
distinct() { awk -v column="$1" '{ print $column }' "$folder/hashes" | sort -u | wc -l; }
echo "distinct files of 8 processes: without metadata $(distinct 1), one entry $(distinct 2), six entries $(distinct 3)"
[ "$(distinct 1)" = 1 ] && [ "$(distinct 2)" = 1 ] && [ "$(distinct 3)" -gt 1 ]

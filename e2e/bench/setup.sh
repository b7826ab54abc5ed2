#!/bin/bash
# Installs paramiko, a rival of the benchmark, into the cache folder: a venv beside the
# bench's images, in pinned versions. Run it as often as you like.
set -euo pipefail
umask 022
export LC_ALL=C

readonly packages=(paramiko==5.1.0 cryptography==50.0.2 zstandard==0.25.0)
dir=${SHOTGLASS_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/shotglass}/bench

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
exec 9>"$dir/.lock"
flock 9

if [ "$(cat "$dir/paramiko/.stamp" 2>/dev/null)" = "${packages[*]}" ]; then
	echo 'bench: paramiko: up to date' >&2
	exit
fi
echo "bench: installing ${packages[*]}" >&2
rm -rf "$dir/paramiko"
/usr/bin/python3 -m venv "$dir/paramiko"
"$dir/paramiko/bin/python" -m pip install -q --disable-pip-version-check "${packages[@]}"
echo "${packages[*]}" >"$dir/paramiko/.stamp"

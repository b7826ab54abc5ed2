#!/bin/bash
# Builds the S3 server of the end-to-end tests and the demo, versitygw, into the cache
# folder beside what setup.sh builds. It takes Go alone, and five minutes when nothing of
# it was built before. Run it as often as you like. See README.md.
set -euo pipefail
umask 022
export LC_ALL=C

readonly version=v1.8.0
lab=${SHOTGLASS_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/shotglass}/lab

say() { printf 'lab: %s\n' "$*" >&2; }

mkdir -p "$lab"
lab=$(cd "$lab" && pwd)
exec 9>"$lab/.lock-s3server"
flock -n 9 || { say 's3server: another setup is running, waiting for it' && flock 9; }

if [ "$(cat "$lab/s3server/.stamp" 2>/dev/null)" = "$version" ]; then
	say 's3server: up to date'
	exit
fi
say "s3server: building versitygw $version; this takes minutes"
tmp=$lab/.tmp-s3server
rm -rf "$tmp"
mkdir "$tmp"
# From outside of the module, whose go.mod it must not see.
if ! (cd "$tmp" && GOBIN=$tmp GOFLAGS=-mod=mod ${GO:-go} install -trimpath "github.com/versity/versitygw/cmd/versitygw@$version") >"$lab/s3server.log" 2>&1 9>&-; then
	tail -n 15 "$lab/s3server.log" >&2
	printf 'lab: error: building versitygw failed\nlab: hint: cat %s\n' "$lab/s3server.log" >&2
	exit 1
fi
echo "$version" >"$tmp/.stamp"
rm -rf "$lab/s3server"
mv "$tmp" "$lab/s3server"
[ -z "${SUDO_UID-}" ] || chown -R "$SUDO_UID:${SUDO_GID-$SUDO_UID}" "$lab/s3server"
say "s3server: built in $SECONDS s"

#!/usr/bin/env bash
# Runs the packages' tests where every real part is there (sshd, ssh-keygen, zstd,
# root, a LiME module), and fails if one was skipped all the same. What skips
# because of what is being tested, and not for want of a part, is named here.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cache=${SHOTGLASS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/shotglass}/lab
SHOTGLASS_TEST_MODULE=$(echo "$cache"/modules/lime-*.ko)
export SHOTGLASS_TEST_MODULE
if ! go test -count=1 -parallel 8 -v "$@" >"$log" 2>&1; then
	grep -a -v -E '^ *(=== |--- PASS|--- SKIP|PASS)' "$log"
	exit 1
fi
grep -a -E '^ok ' "$log"
# sinktest asks Discard, and S3, for abilities of a disk.
skipped=$(grep -a -E -- '--- SKIP' "$log" | grep -a -v -E 'TestDiscard|TestS3|TestConformance')
if [ -n "$skipped" ]; then
	echo "these tests were skipped:"
	echo "$skipped"
	exit 1
fi

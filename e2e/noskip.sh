#!/usr/bin/env bash
# noskip.sh [-only FILE] PACKAGE... runs the packages' tests where every real part is there (sshd,
# ssh-keygen, zstd, root, a LiME module), and fails if one was skipped all the same. With -only: only those
# tests that FILE lists.
# noskip.sh -list FILE PACKAGE... runs them where parts may be missing, and lists in FILE, a line for each
# package, the tests that were skipped: those are to be run when the parts are there.
# What skips because of what is being tested, and not for want of a part, is named here.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
mode=all file=
case $1 in -only | -list) mode=${1#-} file=$2; shift 2 ;; esac

# run ARG... runs go test, and shows what a person wants to see of it.
run() {
	if ! go test -parallel 8 -v "$@" >"$log" 2>&1; then
		grep -a -v -E '^ *(=== |--- PASS|--- SKIP|PASS)' "$log"
		exit 1
	fi
	grep -a -E '^ok ' "$log"
	if grep -a -F '[no tests to run]' "$log"; then
		echo "a test that was listed as skipped is not there"
		exit 1
	fi
	# sinktest asks Discard, and S3, for abilities of a disk.
	skipped=$(grep -a -E -- '--- SKIP|^ok ' "$log" | grep -a -v -E -- '--- SKIP: Test[A-Za-z]+/(free|check|list) ')
}

if [ "$mode" = list ]; then
	run "$@"
	# A package's "ok" comes after its tests; of sub-tests the whole test is run again.
	awk '/--- SKIP/ { sub("/.*", "", $3); if (!seen[$3]++) names = names (names ? "|" : "") $3 }
		/^ok / { if (names) print $2, names; names = ""; delete seen }' <<<"$skipped" >"$file"
	exit
fi
cache=${SHOTGLASS_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/shotglass}/lab
SHOTGLASS_TEST_MODULE=$(echo "$cache"/modules/lime-*.ko)
export SHOTGLASS_TEST_MODULE
all=
if [ "$mode" = only ]; then
	[ -f "$file" ] || { echo "$file is not there: make test SKIPPED=$file makes it"; exit 1; }
	while read -r package names; do
		run -count=1 -run "^($names)\$" "$package"
		all+=$skipped$'\n'
	done <"$file"
else
	run -count=1 "$@"
	all=$skipped
fi
if grep -a -F -- '--- SKIP' <<<"$all"; then
	echo "these tests were skipped"
	exit 1
fi

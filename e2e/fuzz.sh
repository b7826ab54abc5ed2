#!/usr/bin/env bash
# Runs every fuzz target of the project for $1 (default 30s). Go makes what it finds new smaller for up to a
# minute each, and runs nothing else meanwhile: a few tries do.
set -euo pipefail
cd "$(dirname "$0")/.."
for file in $(git ls-files '*_test.go' | xargs grep -l '^func Fuzz'); do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$file"); do
		echo "== $target in $(dirname "$file")"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${1:-30s}" -fuzzminimizetime 20x "./$(dirname "$file")"
	done
done

#!/bin/bash
# Holds shotglass's symbol files against dwarf2json's: e2e/symbols.sh FOLDER. It downloads
# the debug symbols of the lab's guest (283 MB) and dwarf2json's source, unless they
# are in FOLDER already or $DWARF2JSON is the program, takes 5 GB there and 4 GB of memory.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly dir=${1:?usage: e2e/symbols.sh FOLDER}
readonly commit=9f14607e0d339d463ea725fbd5c08aa7b7d40f75
release=$(cat "${SHOTGLASS_CACHE:-$HOME/.cache/shotglass}/lab/guest/release")
vmlinux=$dir/usr/lib/debug/boot/vmlinux-$release
mkdir -p "$dir"
go build -o "$dir/shotglass" ./cmd/shotglass
if [ ! -e "$vmlinux" ]; then
	(cd "$dir" && apt-get download -q "linux-image-$release-dbg")
	dpkg-deb --fsys-tarfile "$dir"/linux-image-"$release"-dbg_*.deb | tar -x -C "$dir" --wildcards './usr/lib/debug/boot/*'
fi
if [ -z "${DWARF2JSON:-}" ]; then
	DWARF2JSON=$dir/dwarf2json
	if [ ! -x "$DWARF2JSON" ]; then
		git clone -q https://github.com/volatilityfoundation/dwarf2json "$dir/source"
		git -C "$dir/source" checkout -q "$commit"
		(cd "$dir/source" && GOFLAGS=-mod=mod go build -o "$DWARF2JSON" .)
	fi
fi
rm -rf "$dir"/bundle "$dir"/*.json.xz
mkdir "$dir/bundle"
# shellcheck disable=SC2016
go run ./e2e/lab/run -exec bash -c '
	ssh="ssh -i $LAB_KEY -p $LAB_PORT -o UserKnownHostsFile=$LAB_KNOWN_HOSTS -o BatchMode=yes root@$LAB_HOST"
	$ssh cat /sys/kernel/btf/vmlinux >"$0/vmlinux.btf"
	$ssh cat /proc/kallsyms >"$0/kallsyms"
	$ssh cat /proc/version >"$0/version"
	$ssh head -c 65536 /proc/kcore >"$0/vmcoreinfo"' "$dir/bundle"
timed() { /usr/bin/time -f '%e s, %M kB' "$@"; }
timed "$DWARF2JSON" linux --elf "$vmlinux" >"$dir/dwarf2json.json"
timed "$dir/shotglass" symbols --from "$dir/bundle" --output "$dir/btf.json.xz"
timed "$dir/shotglass" symbols --vmlinux "$vmlinux" --output "$dir/dwarf.json.xz"
for ours in btf dwarf; do
	xz -dkf "$dir/$ours.json.xz"
	go run ./e2e/isfdiff "$dir/$ours.json" "$dir/dwarf2json.json" >"$dir/$ours.diff"
	grep -E '^(base_types|user_types|enums|symbols): ' "$dir/$ours.diff" | cut -c1-300
done
echo "all differences: $dir/btf.diff $dir/dwarf.diff"

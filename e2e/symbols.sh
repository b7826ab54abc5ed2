#!/bin/bash
# Holds shotglass's symbol files against dwarf2json's, on one build of one kernel: that of the lab's guest.
# It downloads the kernel's debug symbols (283 MB) and dwarf2json, unless $DWARF2JSON is that program, to a folder beside the lab's, or to $1, once, and takes 5 GB there and 4 GB of memory. The
# folder gets all differences, and table.md, which UPDATE=1 puts into docs/symbols.md. See make isf-compare.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${SHOTGLASS_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/shotglass}
dir=$(realpath -m "${1:-$cache/isf}")
readonly dir
release=$(cat "$cache/lab/guest/release")
vmlinux=$dir/usr/lib/debug/boot/vmlinux-$release
mkdir -p "$dir"
go build -o "$dir/shotglass" ./cmd/shotglass
go build -o "$dir/isfdiff" ./e2e/isfdiff
if [ -z "${DWARF2JSON:-}" ]; then
	DWARF2JSON=$dir/dwarf2json
	# Where there is no go.mod, and so none of ours. Where the Go proxy does not have it, of its source: the very commit of that version.
	[ -x "$DWARF2JSON" ] || (
		cd "$dir"
		GOBIN=$dir go install github.com/volatilityfoundation/dwarf2json@v0.9.0 && exit
		echo "the Go proxy has no dwarf2json: building the commit of v0.9.0 from GitHub" >&2
		rm -rf dwarf2json.src
		git -c advice.detachedHead=false clone -q --branch v0.9.0 https://github.com/volatilityfoundation/dwarf2json dwarf2json.src
		cd dwarf2json.src
		[ "$(git rev-parse HEAD)" = 9f14607e0d339d463ea725fbd5c08aa7b7d40f75 ] || { echo "v0.9.0 of dwarf2json on GitHub is another commit" >&2; exit 1; }
		go build -trimpath -o "$DWARF2JSON" .
	)
fi
command -v xz >/dev/null || { echo "xz is missing: apt-get install xz-utils" >&2; exit 1; }
if [ ! -e "$vmlinux" ]; then
	(cd "$dir" && apt-get download -q "linux-image-$release-dbg")
	dpkg-deb --fsys-tarfile "$dir"/linux-image-"$release"-dbg_*.deb | tar -x -C "$dir" --wildcards './usr/lib/debug/boot/*'
fi
rm -rf "$dir"/bundle "$dir"/*.json "$dir"/*.json.xz "$dir"/*.cost
mkdir "$dir/bundle"
# shellcheck disable=SC2016
go run ./e2e/lab/run -exec bash -c '
	ssh="ssh -i $LAB_KEY -p $LAB_PORT -o UserKnownHostsFile=$LAB_KNOWN_HOSTS -o BatchMode=yes root@$LAB_HOST"
	$ssh cat /sys/kernel/btf/vmlinux >"$0/vmlinux.btf"
	$ssh cat /proc/kallsyms >"$0/kallsyms"
	$ssh cat /proc/version >"$0/version"
	$ssh head -c 65536 /proc/kcore >"$0/vmcoreinfo"' "$dir/bundle"
measure() { "$dir/isfdiff" measure "$dir/$1.cost" "${@:2}"; }
measure dwarf2json bash -c 'exec "$0" linux --elf "$1" >"$2"' "$DWARF2JSON" "$vmlinux" "$dir/dwarf2json.json"
measure btf "$dir/shotglass" symbols --from "$dir/bundle" --output "$dir/btf.json.xz"
measure dwarf "$dir/shotglass" symbols --vmlinux "$vmlinux" --output "$dir/dwarf.json.xz"
for ours in btf dwarf; do
	xz -dk "$dir/$ours.json.xz"
	"$dir/isfdiff" diff "$dir/$ours.json" "$dir/dwarf2json.json" >"$dir/$ours.diff"
done
"$dir/isfdiff" table "$dir" | tee "$dir/table.md"
if [ -n "${UPDATE:-}" ]; then
	sed -i -e "/^<!-- isf-compare -->$/,/^<!-- end -->$/{/^<!-- isf-compare -->$/r $dir/table.md
	/^<!-- /!d}" docs/symbols.md
fi
echo "all differences: $dir/btf.diff $dir/dwarf.diff"

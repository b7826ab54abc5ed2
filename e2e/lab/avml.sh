#!/bin/bash
# Builds AVML, which the end-to-end tests let shotglass bring to the guest, into the cache folder beside
# what setup.sh builds: static, without its uploads. It takes cargo 1.88 or newer, which Debian 12 does
# not have: without it nothing is built, and the one test that needs it is skipped. See README.md.
set -euo pipefail
umask 022
export LC_ALL=C

readonly version=0.20.0 cargo_needed=1.88
lab=${SHOTGLASS_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/shotglass}/lab

say() { printf 'lab: %s\n' "$*" >&2; }

mkdir -p "$lab"
lab=$(cd "$lab" && pwd)
exec 9>"$lab/.lock-avml"
flock -n 9 || { say 'avml: another setup is running, waiting for it' && flock 9; }

if [ "$(cat "$lab/avml/.stamp" 2>/dev/null)" = "$version" ]; then
	say 'avml: up to date'
	exit
fi
have=$(cargo --version 2>/dev/null | cut -d ' ' -f 2)
if [ -z "$have" ] || [ "$(printf '%s\n' "$cargo_needed" "$have" | sort -V | head -n 1)" != "$cargo_needed" ]; then
	say "avml: not built, since there is no cargo $cargo_needed or newer (${have:-none}); its test is skipped"
	exit
fi
say "avml: building $version; this takes minutes"
tmp=$lab/.tmp-avml
rm -rf "$tmp"
mkdir "$tmp"
target=$(rustc -vV | sed -n 's/^host: //p')
# The guest has another C library than this machine, perhaps.
if ! RUSTFLAGS='-C target-feature=+crt-static' cargo install avml --version "$version" --locked --no-default-features \
	--target "$target" --target-dir "$tmp/target" --root "$tmp/root" >"$lab/avml.log" 2>&1 9>&-; then
	tail -n 15 "$lab/avml.log" >&2
	rm -rf "$tmp"
	say "avml: not built, see $lab/avml.log; its test is skipped"
	exit
fi
mv "$tmp/root/bin/avml" "$tmp/avml"
rm -rf "$tmp/root" "$tmp/target"
echo "$version" >"$tmp/.stamp"
rm -rf "$lab/avml"
mv "$tmp" "$lab/avml"
[ -z "${SUDO_UID-}" ] || chown -R "$SUDO_UID:${SUDO_GID-$SUDO_UID}" "$lab/avml"
say "avml: built in $SECONDS s"

#!/bin/bash
# Installs what modules are compiled with, for both machines: compilers, make, and the libraries
# that Debian's kbuild programs need; and rpmbuild, which packs headers in the tests, and pahole, which makes BTF. It is no part of setup.sh, since a change there builds the
# guest anew.
set -euo pipefail
export LC_ALL=C

case "$(dpkg --print-architecture)" in
amd64) other=aarch64-linux-gnu ;;
arm64) other=x86-64-linux-gnu ;;
esac
missing=()
for deb in gcc make libc6-dev libelf1 libssl3 rpm pahole "gcc-$other"; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$deb" 2>/dev/null)" = installed ] || missing+=("$deb")
done
# The tests ask apt what there is, so its lists must be there.
apt-cache show linux-headers-cloud-amd64 >/dev/null 2>&1 || missing+=(linux-base)
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
	printf 'lab: error: these packages are missing: %s\n' "${missing[*]}" >&2
	printf 'lab: hint: sudo apt-get update && sudo apt-get install --no-install-recommends %s\n' "${missing[*]}" >&2
	exit 1
fi
printf 'lab: installing %s\n' "${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
	tail -n 15 "$log" >&2
	exit 1
fi

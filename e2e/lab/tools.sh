#!/bin/bash
# Installs the programs of strangers that the tests hold ours against, and that nothing is built
# with: age, gpg, xz, lz4, clients of NBD, the helper that mounts for users, gdb, drgn, a second Volatility 3, and snappy, which Volatility 3 reads AVML with. They are no part of setup.sh, since a change there builds the guest anew.
set -euo pipefail
export LC_ALL=C

missing=()
command -v age >/dev/null || missing+=(age)
command -v gpg >/dev/null || missing+=(gnupg)
command -v xz >/dev/null || missing+=(xz-utils)
command -v lz4 >/dev/null || missing+=(lz4)
command -v fusermount3 >/dev/null || missing+=(fuse3)
command -v qemu-img >/dev/null || missing+=(qemu-utils)
command -v nbdcopy >/dev/null || missing+=(libnbd-bin)
command -v gdb >/dev/null || missing+=(gdb)
dpkg -s libsnappy1v5 >/dev/null 2>&1 || missing+=(libsnappy1v5)

# These come from PyPI, each into a folder of its own beside the lab's: drgn, and the Volatility 3 whose linux.pstree and linux.mountinfo
# work with all guests' kernels; setup.sh has 2.11.0.
for package in drgn-0.3.0 volatility3-2.28.0; do
	venv=${SHOTGLASS_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/shotglass}/lab/$package
	[ ! -e "$venv/ready" ] || continue
	rm -rf "$venv"
	/usr/bin/python3 -m venv "$venv"
	"$venv/bin/python" -m pip install -q --disable-pip-version-check "${package/-/==}"
	touch "$venv/ready"
done

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

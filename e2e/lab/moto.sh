#!/bin/bash
# Installs the AWS emulator of the end-to-end tests, moto's server, and the linter of CloudFormation templates that it needs
# itself, cfn-lint, into the cache folder beside what setup.sh builds. It takes Python with its venv module, and a minute. Run it as
# often as you like. See README.md.
set -euo pipefail
umask 022
export LC_ALL=C

readonly version=5.2.5 lint=1.58.0 # lint: lab/moto.go has it too
lab=${SHOTGLASS_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/shotglass}/lab

say() { printf 'lab: %s\n' "$*" >&2; }

mkdir -p "$lab"
lab=$(cd "$lab" && pwd)
exec 9>"$lab/.lock-moto"
flock -n 9 || { say 'moto: another setup is running, waiting for it' && flock 9; }

if [ "$(cat "$lab/moto/.stamp" 2>/dev/null)" = "$version" ] && compgen -G "$lab/moto/lib/python3*/site-packages/cfn_lint-$lint.dist-info" >/dev/null; then
	say 'moto: up to date'
	exit
fi
say "moto: installing moto[server] $version"
# A virtual environment cannot be moved: its scripts name their folder.
rm -rf "$lab/moto"
if ! { python3 -m venv "$lab/moto" && "$lab/moto/bin/python" -m pip install -q --disable-pip-version-check "moto[server]==$version" "cfn-lint==$lint"; } >"$lab/moto.log" 2>&1 9>&-; then
	tail -n 15 "$lab/moto.log" >&2
	printf 'lab: error: installing moto failed\nlab: hint: cat %s\n' "$lab/moto.log" >&2
	exit 1
fi
echo "$version" >"$lab/moto/.stamp"
[ -z "${SUDO_UID-}" ] || chown -R "$SUDO_UID:${SUDO_GID-$SUDO_UID}" "$lab/moto"
say "moto: installed in $SECONDS s"

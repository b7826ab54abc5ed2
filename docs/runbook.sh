#!/bin/sh
# The runbook of a case in AWS: lock credentials, read memory, isolate, report.
#
#   runbook.sh CASE HOSTS.yml s3://BUCKET/PREFIX/
#
# The hosts file names what is contained with each host (docs/hosts.md). How to reach AWS (SHOTGLASS_AWS_PROFILE, _ROLE, _EXTERNAL_ID: steps 4 and
# the release do not read the hosts file) and the bucket, and the signing key, are in the environment (shotglass help environment). Journals go to CASE-journals here, which release needs.
# It ends with the code of the capture: 0, or what "shotglass help exit-codes" says.
set -u
if [ $# -ne 3 ]; then
	echo "usage: $0 CASE HOSTS.yml s3://BUCKET/PREFIX/" >&2
	exit 64
fi
case=$1 hosts=$2 evidence=$3
export SHOTGLASS_CASE="$case" SHOTGLASS_JOURNAL="${SHOTGLASS_JOURNAL:-$case-journals}"

# 1. What would be done, to hosts and in the account. Nothing is written. 3: some hosts cannot be captured; the others can.
shotglass plan --config "$hosts" --to "$evidence"
code=$?
case $code in
0 | 3) ;;
*) exit "$code" ;;
esac

# 2. Credentials are locked, instances protected, memory is read, then the network is cut: host by host.
shotglass capture --config "$hosts" --to "$evidence" --lock-first
code=$?
case $code in
0) echo "runbook: all memory captured, all contained, as far as was checked: see above" >&2 ;;
5) echo "runbook: all memory captured, NOT ALL CONTAINED: see above" >&2 ;;
3) echo "runbook: NOT ALL MEMORY CAPTURED, and what belongs to those hosts may not be contained: see above" >&2 ;;
64) exit 64 ;; # nothing was done
*) echo "runbook: failed or interrupted: see above, and shotglass status" >&2 ;;
esac

# 3. A page for people, from all that is in the bucket, every byte read again.
shotglass report --verify ${SHOTGLASS_SIGNERS:+--signers "$SHOTGLASS_SIGNERS"} --output "$case.html" "$evidence"

# 4. Does it hold, still?
shotglass status

echo "runbook: to take the containment back: SHOTGLASS_CASE=$case SHOTGLASS_JOURNAL=$SHOTGLASS_JOURNAL shotglass release TARGET..." >&2
exit "$code"

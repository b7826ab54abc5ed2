# Says which compressors work here, and what could read a TCP port. Run by sh as root;
# writes nothing.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
n=$1
printf '\n@%s zip' "$n"
for t in zstd lz4; do $t -q -1 -c - </dev/null >/dev/null 2>&1 && printf ' %s' "$t"; done
gzip -1 -c </dev/null >/dev/null 2>&1 && printf ' gzip'
printf '\n@%s way' "$n"
# bash may be built without /dev/tcp. Nobody listens on port 1, or somebody does: both show it.
if l=$(bash -c ': </dev/tcp/127.0.0.1/1' 2>&1); then
	printf ' bash'
else
	case $l in *refused*) printf ' bash' ;; esac
fi
for t in nc ncat socat; do command -v "$t" >/dev/null && printf ' %s' "$t"; done
busybox nc --help 2>&1 | grep -q '^Usage: nc' && printf ' busybox'
printf '\n@%s end\n' "$n"

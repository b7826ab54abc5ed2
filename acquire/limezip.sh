# Reads LiME's port on this host's loopback, and sends what comes through a compressor. Run by
# sh as root; writes nothing but to its standard output and error. $1 marks our lines and
# processes, $2 is the port, $3 what reads it, $4 the compressor. A line of standard input lets it begin: not
# before it is known that LiME serves us, and nobody else. It ends with LiME's stream, or ours.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
SHOTGLASS=$1
export LC_ALL PATH SHOTGLASS
n=$1 port=$2 way=$3 zip=$4
say() { printf '@%s %s\n' "$n" "$*" >&2; }
# What it starts has no other socket than LiME's.
connect() {
	case $way in
	bash) exec bash -c 'exec 4</dev/tcp/127.0.0.1/$0 && exec cat <&4 4<&-' "$port" ;;
	nc | ncat) exec "$way" 127.0.0.1 "$port" ;;
	socat) exec socat -u "TCP4:127.0.0.1:$port" - ;;
	busybox) exec busybox nc 127.0.0.1 "$port" ;;
	esac
	exit 127
}
printf '\n@%s begin\n' "$n"
exec 5<&0
{
	connect </dev/null 2>/dev/null 5<&- &
	p=$!
	i=0 l=
	while [ -z "$l" ] && [ "$i" -lt 300 ] && [ -d "/proc/$p" ]; do
		l=$(ls -l "/proc/$p/fd" 2>/dev/null | grep -o 'socket:\[[0-9]*\]')
		[ -n "$l" ] || sleep 0.1 2>/dev/null || sleep 1
		i=$((i + 1))
	done
	for s in $l; do say socket "$s" "$p" "$way"; done
	wait "$p"
	say reader "$?"
} 5<&- | { read -r l <&5 && $zip 5<&-; }
rc=$?
read -r l <"/proc/$$/stat"
set -- ${l##*) }
say compressor "$rc" $((${14} + ${15}))
exit "$rc"

# The only program of shotglass on a target: loads LiME, waits for the capture,
# then unloads it and removes every trace, also when nobody is left to ask.
# Sent by shotglass, run by a POSIX sh as root. It lives as long as its
# standard input: commands come in there line by line, reports go out on
# standard output, each line marked with a nonce.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
n=$1 dir=$2 size=$3 sum=$4 port=$5 hex=$6 lease=$7 timeout=$8
ko=$dir/lime.ko
up= rc= stop= rp= wp= ip=
umask 077
trap '' HUP PIPE INT QUIT
trap 'stop=1' TERM

say() { printf '@%s %s\n' "$n" "$*" 2>/dev/null; }
nap() { sleep 0.1 2>/dev/null || sleep 1; }

# look PID: sets st to its state letter (empty when it is gone) and pp to its parent.
look() {
	st= pp=0
	read -r l 2>/dev/null <"/proc/$1/stat" || return
	set -- ${l##*) }
	st=$1 pp=$2
}
alive() { look "$1"; [ -n "$st" ] && [ "$st" != Z ]; }

# halt: ends insmod. It can be interrupted while LiME waits for a client or for
# room to send.
halt() {
	for sig in TERM KILL; do
		i=0
		alive "$ip" && kill -"$sig" "$ip" 2>/dev/null
		while alive "$ip" && [ "$i" -lt 30 ]; do nap; i=$((i + 1)); done
	done
}

# peers: the sockets on LiME's port, and the sockets of our own ancestors, of which
# one is the SSH server that forwards the capture.
peers() {
	grep -i ":$hex " /proc/net/tcp 2>/dev/null | while read -r l; do say row "$l"; done
	p=$$
	while [ "$p" -gt 1 ]; do
		read -r comm 2>/dev/null <"/proc/$p/comm"
		ls -l "/proc/$p/fd" 2>/dev/null | grep -o 'socket:\[[0-9]*\]' | while read -r l; do say socket "$p" "$l" "$comm"; done
		look "$p"
		p=$pp
	done
	say checked
}

# orders: obeys standard input until it ends or says so.
orders() {
	while IFS= read -r c <&3; do
		case $c in
		beat) kill -USR1 "$wp" 2>/dev/null ;;
		check) peers ;;
		end) break ;;
		esac
	done
	# The stream's connection is closed by now, which ends insmod by itself.
	i=0
	while alive "$ip" && [ "$i" -lt 20 ]; do nap; i=$((i + 1)); done
	halt
}

# watch: ends it all when no beat came for the time of the lease: a link that
# died without a word leaves standard input open.
watch() {
	beat=1 s=
	trap 'beat=1' USR1
	trap 'kill "$s" 2>/dev/null; exit 0' TERM
	while [ "$beat" = 1 ]; do
		beat=0
		sleep "$lease" &
		s=$!
		while alive "$s"; do wait "$s"; done
	done
	say lease expired
	kill -KILL "$ip" 2>/dev/null
	kill -TERM "$$"
}

drop() {
	rm -f "$ko"
	[ -d "$dir" ] && rmdir "$dir"
}

mkdir -m 700 "$dir" || { say failed mkdir; exit 1; }
say dir "$dir"
dd bs=1 count="$size" of="$ko" 2>/dev/null
set -- $(sha256sum "$ko")
if [ "$1" != "$sum" ]; then
	say failed digest "$1"
	drop
	exit 1
fi
say pushed "$size"

exec 3<&0
insmod "$ko" "path=tcp:$port" format=lime localhostonly=1 "timeout=$timeout" </dev/null >/dev/null 3<&- &
ip=$!
watch </dev/null 3<&- &
wp=$!
orders </dev/null &
rp=$!
exec 3<&- </dev/null

i=0
while [ -z "$stop" ] && alive "$ip" && [ "$i" -lt 600 ]; do
	if grep -q -i ": 0100007F:$hex 00000000:0000 0A" /proc/net/tcp; then
		up=1
		break
	fi
	nap
	i=$((i + 1))
done
rm -f "$ko"
rmdir "$dir"
if [ -n "$up" ]; then
	for p in path format localhostonly timeout; do
		read -r l 2>/dev/null <"/sys/module/lime/parameters/$p" && say param "$p=$l"
	done
	say listening "$port"
elif alive "$ip"; then
	say failed listen
	halt
fi

while :; do
	[ -z "$stop" ] || halt
	wait "$ip"
	rc=$?
	alive "$ip" || break
	[ -z "$stop" ] || break
done
say insmod "$rc"
while [ -z "$stop" ] && alive "$rp"; do wait "$rp"; done
alive "$rp" && kill -TERM "$rp" 2>/dev/null

mod=gone
if [ -n "$up" ] || [ "$rc" = 0 ]; then
	i=0
	while grep -q '^lime ' /proc/modules; do
		[ "$i" -ge 50 ] && mod=loaded && break
		rmmod lime 2>/dev/null
		i=$((i + 1))
		grep -q '^lime ' /proc/modules && nap
	done
fi
drop
where=gone
[ -e "$dir" ] && where=left
kill -TERM "$wp" 2>/dev/null
wait "$wp"
read -r l 2>/dev/null </proc/sys/kernel/tainted
say done "insmod=$rc" "module=$mod" "dir=$where" "tainted=$l"

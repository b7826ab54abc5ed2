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
up= rc= stop= rp= wp= ip= made=
umask 077
# USR1 is a beat; ignored until watch has its trap, since its default kills.
trap '' HUP PIPE INT QUIT USR1
trap 'stop=1' TERM

say() { printf '@%s %s\n' "$n" "$*" 2>/dev/null; }
# nap: a tenth of a second where sleep can, counted in tick.
tick=1
sleep 0.1 2>/dev/null || tick=10
nap() { if [ "$tick" = 1 ]; then sleep 0.1; else sleep 1; fi; }

# look PID: sets st to its state letter (empty when it is gone) and pp to its parent.
look() {
	st= pp=0
	read -r l 2>/dev/null <"/proc/$1/stat" || return
	set -- ${l##*) }
	st=$1 pp=$2
}
alive() { look "$1"; [ -n "$st" ] && [ "$st" != Z ]; }
# mine PID: alive and a child of the agent; a number that was given away again is not.
mine() { alive "$1" && [ "$pp" = "$$" ]; }

# halt: ends insmod. It can be interrupted while LiME waits for a client or for
# room to send.
halt() {
	for sig in TERM KILL; do
		i=0
		mine "$ip" && kill -"$sig" "$ip" 2>/dev/null
		while mine "$ip" && [ "$i" -lt 30 ]; do nap; i=$((i + tick)); done
	done
}

# lime: the module is loaded, and it is ours: its path is our port. Where the
# path cannot be read, it counts as ours if we have seen it listen.
lime() {
	grep -q '^lime ' /proc/modules || return 1
	if read -r l 2>/dev/null </sys/module/lime/parameters/path; then
		[ "$l" = "tcp:$port" ]
	else
		[ -n "$up" ]
	fi
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
		beat) mine "$wp" && kill -USR1 "$wp" 2>/dev/null ;;
		check) peers ;;
		kill)
			halt
			break
			;;
		end) break ;;
		esac
	done
	# The stream's connection is closed by now, which ends insmod by itself.
	i=0
	while mine "$ip" && [ "$i" -lt 20 ]; do nap; i=$((i + tick)); done
	halt
}

# watch: ends it all when no beat came for the time of the lease: a link that
# died without a word leaves standard input open. It looks four times a lease.
watch() {
	silent=0 beat= s=
	trap 'beat=1' USR1
	trap 'kill "$s" 2>/dev/null; exit 0' TERM
	while [ "$silent" -lt 4 ]; do
		sleep $(((lease + 3) / 4)) &
		s=$!
		while alive "$s"; do wait "$s"; done
		silent=$((silent + 1))
		[ -z "$beat" ] || silent=0
		beat=
	done
	say lease expired
	read -r me l </proc/self/stat
	look "$me"
	[ "$pp" = "$$" ] || exit 0
	kill -TERM "$$"
	for p in /proc/[0-9]*; do
		p=${p#/proc/}
		[ "$p" = "$me" ] || ! mine "$p" || kill -KILL "$p" 2>/dev/null
	done
}

# drop: removes the folder, once. When it is gone its name is nobody's.
drop() {
	[ -n "$made" ] || return
	rm -f "$ko"
	rmdir "$dir" && made=
}

mkdir -m 700 "$dir" || { say failed mkdir; exit 1; }
made=1
say dir "$dir"
exec 3<&0
watch </dev/null 3<&- &
wp=$!
dd bs=1 count="$size" of="$ko" <&3 2>/dev/null
set -- $(sha256sum "$ko")
failed=
if [ "$1" != "$sum" ]; then
	failed="digest $1"
elif grep -q '^lime ' /proc/modules; then
	failed="loaded"
fi
if [ -n "$failed" ] || [ -n "$stop" ]; then
	say failed "$failed"
	drop
	mine "$wp" && kill -TERM "$wp" 2>/dev/null
	exit 1
fi
say pushed "$size"

insmod "$ko" "path=tcp:$port" format=lime localhostonly=1 "timeout=$timeout" </dev/null >/dev/null 3<&- &
ip=$!
orders </dev/null &
rp=$!
exec 3<&- </dev/null

i=0
while [ -z "$stop" ] && mine "$ip" && [ "$i" -lt 600 ]; do
	if grep -q -i ": 0100007F:$hex 00000000:0000 0A" /proc/net/tcp && lime; then
		up=1
		break
	fi
	nap
	i=$((i + tick))
done
drop
if [ -n "$up" ]; then
	for p in path format localhostonly timeout; do
		read -r l 2>/dev/null <"/sys/module/lime/parameters/$p" && say param "$p=$l"
	done
	say listening "$port"
elif mine "$ip"; then
	say failed listen
	halt
fi

while mine "$ip"; do
	if [ -n "$stop" ]; then
		halt
		break
	fi
	wait "$ip"
	rc=$?
done
if ! mine "$ip"; then # its status, where a signal had cut the wait short
	wait "$ip" 2>/dev/null
	l=$?
	[ "$l" = 127 ] || rc=$l
fi
# The kernel's log says why it refused: insmod's own words are an errno.
if [ -z "$up" ] && [ "${rc:-0}" != 0 ]; then
	dmesg 2>/dev/null | grep ' lime: ' | tail -n 2 >&2
fi
say insmod "$rc"
while [ -z "$stop" ] && mine "$rp"; do wait "$rp"; done
mine "$rp" && kill -TERM "$rp" 2>/dev/null

i=0
while lime && [ "$i" -lt 50 ]; do
	rmmod lime 2>/dev/null
	i=$((i + tick))
	lime && nap
done
drop
mine "$wp" && kill -TERM "$wp" 2>/dev/null
wait "$wp"
# What is left is looked up, not assumed.
mod=gone where=gone pids=
lime && mod=loaded
[ -n "$made" ] && where=left
mine "$ip" && pids=$ip
i=0
while mine "$rp" && [ "$i" -lt 20 ]; do nap; i=$((i + tick)); done
mine "$rp" && pids=$pids,$rp
# In one read: byte by byte, as dash and busybox do it, the kernel gives the first digit alone.
l=$(dd bs=64 count=1 </proc/sys/kernel/tainted 2>/dev/null)
say done "insmod=$rc" "module=$mod" "dir=$where" "pids=$pids" "tainted=$l"

# Runs AVML, which the examiner brought, from a folder in memory, and streams what it writes.
# Sent by shotglass, run by a POSIX sh as root. The program comes on standard input, the image goes to
# standard output, reports go to standard error, each line marked with a nonce. $6 are
# the seconds that the program may take to arrive; then the files go, whatever happens.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
SHOTGLASS=$1
export LC_ALL PATH SHOTGLASS
n=$1 dir=$2 size=$3 sum=$4 source=$5 lease=$6
umask 077
trap '' HUP PIPE INT QUIT
say() { printf '@%s %s\n' "$n" "$*" >&2; }
tick=1
sleep 0.1 2>/dev/null || tick=10
nap() { if [ "$tick" = 1 ]; then sleep 0.1; else sleep 1; fi; }

made= wp=
# drop removes the folder, once. When it is gone its name is nobody's.
drop() {
	[ -n "$made" ] || return
	rm -f "$dir/avml" "$dir/out"
	rmdir "$dir" && made=
	[ -z "$wp" ] || { kill "$wp" 2>/dev/null; wait "$wp" 2>/dev/null; }
	wp=
}
# fail WHAT: gives up.
fail() {
	say failed "$*"
	drop
	exit 1
}

mkdir -m 700 "$dir" || { say failed mkdir; exit 1; }
made=1
say dir "$dir"
: >"$dir/avml"
# A link that dies without a word leaves what waits for it waiting: then this one removes the files.
(
	trap 'kill "$s" 2>/dev/null; exit 0' TERM
	sleep "$lease" &
	s=$!
	wait "$s"
	rm -f "$dir/avml" "$dir/out"
	rmdir "$dir"
) </dev/null >/dev/null 2>&1 &
wp=$!
# Reads never go beyond the program: each takes what is left of it, at most.
got=0
while [ "$got" -lt "$size" ]; do
	want=$((size - got))
	[ "$want" -lt 65536 ] || want=65536
	dd bs="$want" count=1 2>/dev/null >>"$dir/avml"
	now=$(($(wc -c <"$dir/avml")))
	[ "$now" -gt "$got" ] || break
	got=$now
done
set -- $(sha256sum "$dir/avml")
[ "$1" = "$sum" ] || fail digest "$1"
chmod 700 "$dir/avml"
mkfifo -m 600 "$dir/out" || fail mkfifo
version=$("$dir/avml" --version 2>&1 </dev/null)
rc=$?
[ "$rc" = 0 ] || fail run "$rc" $version
say pushed $version

# Our own end for writing keeps cat from seeing an end before AVML's.
exec 3>&1 4<>"$dir/out" 5<"$dir/out" 6>"$dir/out" 4>&-
set -- --source "$source" "$dir/out"
case $version in
*' 0.'[0-9].* | *' 0.1'[0-8].*) ;; # before there were subcommands
*) set -- acquire "$@" ;;
esac
"$dir/avml" "$@" </dev/null >&2 3>&- 5<&- 6>&- &
ap=$!
cat <&5 >&3 3>&- 5<&- 6>&- &
cp=$!
exec 1>&2 3>&- 5<&-
# Nobody needs the files once AVML has opened its end. Before it is AVML, the process has our
# ends.
opened() {
	tr '\0' ' ' 2>/dev/null <"/proc/$ap/cmdline" | grep -q -F "$dir/avml" &&
		ls -l "/proc/$ap/fd" 2>/dev/null | grep -q -F "$dir/out"
}
i=0
while kill -0 "$ap" 2>/dev/null && ! opened && [ "$i" -lt 300 ]; do
	nap
	i=$((i + tick))
done
drop
say running "$source"
# What AVML has read tells that it works while it leaves zeros out.
(
	trap 'exit 0' TERM
	while kill -0 "$ap" 2>/dev/null; do
		sleep 1
		while read -r k v; do
			[ "$k" != rchar: ] || say read "$v"
		done 2>/dev/null <"/proc/$ap/io"
	done
) 6>&- &
bp=$!
wait "$ap"
rc=$?
kill "$bp" 2>/dev/null
wait "$bp" 2>/dev/null
exec 6>&-
wait "$cp"
say avml "$rc" "cat=$?"
[ -z "$made" ] || say left "$dir"
exit 0

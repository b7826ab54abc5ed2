# Freezes cgroups, and is sure to thaw them, also when nobody is left to ask. Sent by
# shotglass, run by a POSIX sh as root; it writes to switches of cgroups, to its own
# oom_score_adj, and to nothing else. It lives as long as its standard input: orders come in there line by line,
# reports go out on standard output, each line marked with a nonce. A second process, the
# guard, thaws too: when no beat came for the time of the lease, when it is told to end,
# or when this one is gone. What must not fail, thawing, starts no program.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
n=$1 ver=$2 root=$3 lease=$4
IFS='
'
set -f
nl=$IFS
held= cold= gp=
trap '' HUP PIPE INT QUIT TERM USR1 USR2
# Nor should memory that runs short end it.
{ echo -1000 >/proc/self/oom_score_adj; } 2>/dev/null

say() { printf '@%s %s\n' "$n" "$1" 2>/dev/null; }
# nap: a tenth of a second where sleep can, counted in tick.
tick=1
sleep 0.1 2>/dev/null || tick=10
nap() { if [ "$tick" = 1 ]; then sleep 0.1; else sleep 1; fi; }

# look PID: sets st to its state letter (empty when it is gone) and pp to its parent.
look() {
	st= pp=0
	read -r l 2>/dev/null <"/proc/$1/stat" || return
	IFS=' '
	set -- ${l##*) }
	IFS=$nl
	st=$1 pp=$2
}
alive() { look "$1"; [ -n "$st" ] && [ "$st" != Z ]; }
mine() { alive "$1" && [ "$pp" = "$$" ]; }

# put PATH WORD: turns the switch of a cgroup.
# own PATH: sets v to what its switch says; all PATH: sets v to whether all of it is frozen.
case $ver in
2)
	on=1 off=0
	put() { { echo "$2" >"$root$1/cgroup.freeze"; } 2>/dev/null; }
	own() { v= && read -r v 2>/dev/null <"$root$1/cgroup.freeze"; }
	all() {
		v=
		while IFS=' ' read -r k w; do [ "$k" != frozen ] || v=$w; done 2>/dev/null <"$root$1/cgroup.events"
	}
	;;
*)
	on=FROZEN off=THAWED
	put() { { echo "$2" >"$root$1/freezer.state"; } 2>/dev/null; }
	own() { v= && read -r v 2>/dev/null <"$root$1/freezer.self_freezing"; }
	all() {
		v=
		read -r w 2>/dev/null <"$root$1/freezer.state" || return
		v=0
		[ "$w" != FROZEN ] || v=1
	}
	;;
esac

# thaw: all that is ours.
thaw() { for c in $held; do put "$c" "$off"; done; }

# end_naps: of the guard. A shell that has not become sleep yet would miss another signal.
end_naps() { kill -KILL "$cur" $next 2>/dev/null; }

# guard: sleeps for a lease. A beat starts the next sleep, which takes over once it is seen to
# sleep: should nothing be able to start any more, the last one that did ends the lease. Nor is
# it armed before the first one sleeps.
guard() {
	trap 'beat=1' USR1
	trap 'stop=1' TERM HUP
	trap 'quit=1' USR2
	next= stop= beat= quit=
	sleep "$lease" &
	cur=$!
	while alive "$cur" && [ "$st" != S ]; do nap; done
	say armed
	while [ -z "$stop$quit" ]; do
		wait "$cur"
		if [ -n "$beat" ]; then
			beat=
			if [ -n "$next" ] && look "$next" && [ "$st" = S ]; then
				kill -KILL "$cur" 2>/dev/null
				cur=$next next=
			fi
			[ -n "$next" ] || { sleep "$lease" & next=$!; }
		else
			alive "$cur" || break
		fi
	done
	if [ -n "$quit" ]; then # all is thawed
		end_naps
		exit 0
	fi
	thaw
	[ -n "$stop" ] && say 'expired told to end' || say 'expired lease'
	end_naps
	# The other has nothing left to do, and may wait for orders for ever.
	read -r me l </proc/self/stat
	look "${me%% *}"
	[ "$pp" != "$$" ] || kill -KILL "$$"
	thaw # again: what it froze since the first time would stay so for ever
	exit 0
}
arm() {
	guard </dev/null &
	gp=$!
}
beat() {
	if mine "$gp"; then
		kill -USR1 "$gp" 2>/dev/null
	elif [ -n "$gp" ]; then
		say unguarded
		arm
	fi
}

# add PATH: what somebody froze before is not ours.
add() {
	if ! own "$1"; then
		say "gone $1"
	elif [ "$v" != 0 ]; then
		say "already $1"
	else
		held=$held$1$nl
	fi
}

# freeze: and waits, for at most ten seconds, until all is frozen that can be.
freeze() {
	for c in $held; do put "$c" "$on"; done
	i=0 open=$held
	while [ -n "$open" ]; do
		rest=
		for c in $open; do
			all "$c"
			if [ "$v" = 1 ]; then
				say "cold $c"
				cold=$cold$c$nl
			elif [ -z "$v" ]; then
				say "gone $c"
			elif own "$c" && [ "$v" = 0 ]; then
				say "refused $c"
			else
				rest=$rest$c$nl
			fi
		done
		open=$rest
		[ -n "$open" ] && [ "$i" -lt 100 ] || break
		beat
		nap
		i=$((i + tick))
	done
	for c in $open; do say "slow $c"; done
	say frozen
}

# check: tells of each that was frozen, once, when somebody else has thawed it.
check() {
	rest=
	for c in $cold; do
		if own "$c" && [ "$v" = 0 ]; then
			say "warm $c"
		else
			rest=$rest$c$nl
		fi
	done
	cold=$rest
}

# finish: what is left is looked up, not assumed.
finish() {
	check
	i=0
	while :; do
		thaw
		left=
		for c in $held; do
			own "$c" && [ "$v" != 0 ] && left=$left$c$nl
		done
		[ -n "$left" ] && [ "$i" -lt 20 ] || break
		nap
		i=$((i + tick))
	done
	for c in $left; do say "left $c"; done
	say thawed
	if [ -z "$left" ] && [ -n "$gp" ]; then
		i=0
		mine "$gp" && kill -USR2 "$gp" 2>/dev/null
		while mine "$gp" && [ "$i" -lt 50 ]; do nap; i=$((i + tick)); done
		if mine "$gp"; then # with what sleeps for it
			set +f
			for p in /proc/[0-9]*; do
				look "${p#/proc/}"
				[ "$pp" != "$gp" ] || kill -KILL "${p#/proc/}" 2>/dev/null
			done
			set -f
			kill -KILL "$gp" 2>/dev/null
		fi
	fi
}

read -r b 2>/dev/null </proc/sys/kernel/random/boot_id
say "ready $b"
while read -r c; do
	case $c in
	'add '*) add "${c#add }" ;;
	'take '*) held=$held${c#take }$nl ;;
	arm) arm ;;
	freeze) freeze ;;
	beat)
		beat
		check
		;;
	end) break ;;
	esac
done
finish

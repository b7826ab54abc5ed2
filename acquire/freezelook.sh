# Shows which processes there are, in which cgroups, and what hangs on them: what a
# freeze is decided by. Reads only. Run by sh as root; $1 marks the sections.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
n=$1
s() { printf '\n@@%s %s\n' "$n" "$1"; }

# The hierarchy: v2 where cgroups have a switch of their own (Linux 5.2), beside v1 too.
v2= v1= ver= root=
while read -r x m t o x; do
	case $t in
	cgroup2) [ -n "$v2" ] || { v2=$m; o2=$o; } ;;
	cgroup) case ,$o, in *,freezer,*) v1=$m o1=$o ;; esac ;;
	esac
done </proc/mounts
for f in "$v2"/*/cgroup.freeze; do
	[ -z "$v2" ] || [ ! -e "$f" ] || { ver=2 root=$v2 o=$o2; break; }
done
[ -n "$ver" ] || [ -z "$v1" ] || ver=1 root=$v1 o=$o1
s hierarchy
[ -z "$ver" ] || printf '%s %s %s\n' "$ver" "${o%%,*}" "$root"
s self; echo "$$"

# Each process in two lines: its number, parent, state, flags, whether its cgroup is frozen,
# and name; its cgroup.
s processes
set -- /proc/[0-9]*
set -f
for d; do
	read -r l 2>/dev/null <"$d/stat" || continue
	c=${l#*\(} t=${l##*) }
	c=${c%)*}
	g= f=0
	while IFS= read -r l; do
		case $ver.$l in
		2.0::*) g=${l#0::} ;;
		1.*:freezer:* | 1.*:freezer,*:* | 1.*,freezer:* | 1.*,freezer,*:*) g=${l#*:} g=${g#*:} ;;
		esac
	done 2>/dev/null <"$d/cgroup"
	case $ver in
	2) while read -r k v; do [ "$k" != frozen ] || f=$v; done 2>/dev/null <"$root$g/cgroup.events" ;;
	1) read -r v 2>/dev/null <"$root$g/freezer.state" && [ "$v" = FROZEN ] && f=1 ;;
	esac
	set -- $t
	printf 'p %s %s %s %s %s %s\nc %s\n' "${d#/proc/}" "$2" "$1" "$7" "$f" "$c" "$g"
done
set +f

# The sockets of the SSH server that we came through, and those of this host that are their
# other ends: what they belong to carries our connection.
any() { shift; IFS='|'; printf '%s' "$*"; unset IFS; }
own() {
	p=$$
	while [ "$p" -gt 1 ]; do
		ls -l "/proc/$p/fd" 2>/dev/null | grep -o 'socket:\[[0-9]*\]'
		read -r l 2>/dev/null <"/proc/$p/stat" || break
		set -- ${l##*) }
		p=$2
	done | tr -dc '0-9\n'
}
rows() { grep -h "$@" /proc/net/tcp /proc/net/tcp6 2>/dev/null; }
mine=$(any x $(own))
near=
[ -z "$mine" ] || near=$(rows -E " ($mine) ")
far=$(printf '%s\n' "$near" | while read -r x l r st x; do
	[ "$st" != 01 ] || rows -E " [0-9A-F]+:${r##*:} [0-9A-F]+:${l##*:} 01 "
done)
s near; printf '%s\n' "$near"
s far; printf '%s\n' "$far"

# Sockets that logins, sudo and their logs wait for.
unix=$(grep -E ' (00010000 [0-9A-F]+|00000000 0002) [0-9A-F]+ +[0-9]+ (/dev/log|(/var)?/run/(systemd/(journal|userdb|resolve)/.*|dbus/system_bus_socket|nscd/socket|nslcd/socket|samba/winbindd/pipe|sssd/.*)|/var/lib/sss/pipes/.*)$' /proc/net/unix 2>/dev/null)
s unix; printf '%s\n' "$unix"

inodes=$(any x $({ printf '%s\n' "$far" | while read -r a b c d e f g h i j x; do echo "$j"; done
	printf '%s\n' "$unix" | while read -r a b c d e f g x; do echo "$g"; done; } | tr -dc '0-9\n'))
s fds
ls -l /proc/[0-9]*/fd 2>/dev/null | grep -E "^/proc/[0-9]+/fd:|-> (.*/watchdog[0-9]*|/dev/ipmi.*|/dev/net/tun|/dev/fuse|anon_inode:\[?fanotify\]?|socket:\[(${inodes:-x})\])\$"

s booted; [ ! -d /run/systemd/system ] || echo systemd
# Services that systemd ends when they say nothing for a time.
s units; systemctl show --property=Id,ControlGroup,WatchdogUSec '*.service' 2>/dev/null
s end

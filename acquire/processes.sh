# Functions of scripts that look for processes of ours. What includes this has s, which begins
# a section.
# With -z, since grep of busybox looks at a line to its first NUL only.
find_all() { printf '%s\n' "$1" | grep -l -z -F -f - /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; }
ours() {
	for p in $(find_all "$1"); do
		p=${p#/proc/}
		printf '%s ' "${p%/*}"
	done
}
# processes MARK PATIENCE: those with MARK in their command line or environment get PATIENCE
# seconds to end by themselves, then they are told to. The sections search and pids say whether the
# search works, and who is left.
processes() {
	# The search must find this very script, or it proves nothing. grep's status
	# says less: processes come and go meanwhile.
	s search
	[ -z "$(find_all "$BOOT")" ] || echo works
	i=0
	pids=$(ours "$1")
	while [ -n "$pids" ] && [ "$i" -lt "$2" ]; do
		sleep 1
		i=$((i + 1))
		pids=$(ours "$1")
	done
	for sig in TERM KILL; do
		[ -n "$pids" ] || break
		kill -"$sig" $pids 2>/dev/null
		sleep 1
		pids=$(ours "$1")
	done
	s pids; echo $pids
}

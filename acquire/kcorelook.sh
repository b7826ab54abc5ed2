# Shows what a capture through /proc/kcore rests on, and which of its processes are there.
# Run by sh as root. $2 is /proc/kcore, $3 how many pages of headers it has, $4 what marks
# the processes of a capture that has ended, or nothing, $5 the seconds that they get to end by
# themselves.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
n=$1 core=$2 pages=$3 mark=$4 patience=$5
s() { printf '\n@@%s %s\n' "$n" "$1"; }
# With -z, since grep of busybox looks at a line to its first NUL only.
find_all() { printf '%s\n' "$1" | grep -l -z -F -f - /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; }
ours() {
	for p in $(find_all "$mark"); do
		p=${p#/proc/}
		printf '%s ' "${p%/*}"
	done
}
s boot; cat /proc/sys/kernel/random/boot_id
s iomem; cat /proc/iomem
s kcore; dd if="$core" bs=4096 count="$pages" 2>/dev/null | od -An -v -tx1
if [ -n "$mark" ]; then
	# The search must find this very script, or it proves nothing. grep's status
	# says less: processes come and go meanwhile.
	s search
	[ -z "$(find_all "$BOOT")" ] || echo works
	i=0
	pids=$(ours)
	while [ -n "$pids" ] && [ "$i" -lt "$patience" ]; do
		sleep 1
		i=$((i + 1))
		pids=$(ours)
	done
	for sig in TERM KILL; do
		[ -n "$pids" ] || break
		kill -"$sig" $pids 2>/dev/null
		sleep 1
		pids=$(ours)
	done
	s pids; echo $pids
fi
s tainted; cat /proc/sys/kernel/tainted
s end

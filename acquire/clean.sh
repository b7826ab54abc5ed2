# Finishes what an agent left behind. Run by sh as root after the connection of
# a capture was lost. $2 is the agent's nonce, which stands in its command line,
# $3 its folder, $4 LiME's port.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
n=$1 agent=$2 dir=$3 port=$4 patience=$5
nap() { sleep 1; }
ours() {
	for p in $(printf '%s\n%s\n' "$agent" "$dir" | grep -l -F -f - /proc/[0-9]*/cmdline 2>/dev/null); do
		p=${p#/proc/}
		printf '%s ' "${p%/cmdline}"
	done
}
loaded() {
	grep -q '^lime ' /proc/modules || return 1
	read -r l 2>/dev/null </sys/module/lime/parameters/path || return 1
	[ "$l" = "tcp:$port" ]
}
i=0
pids=$(ours)
while [ -n "$pids" ] && [ "$i" -lt "$patience" ]; do # the agent cleans by itself
	nap
	i=$((i + 1))
	pids=$(ours)
done
if [ -n "$pids" ]; then
	kill -TERM $pids 2>/dev/null
	i=0
	while [ -n "$pids" ] && [ "$i" -lt 10 ]; do
		nap
		i=$((i + 1))
		pids=$(ours)
	done
	[ -z "$pids" ] || kill -KILL $pids 2>/dev/null
fi
i=0
while loaded && [ "$i" -lt 5 ]; do
	rmmod lime 2>/dev/null
	i=$((i + 1))
	loaded && nap
done
[ -d "$dir" ] && rm -f "$dir/lime.ko" && rmdir "$dir"
mod=gone where=gone
loaded && mod=loaded
[ -e "$dir" ] && where=left
pids=$(ours)
read -r b 2>/dev/null </proc/sys/kernel/random/boot_id
read -r l 2>/dev/null </proc/sys/kernel/tainted
printf '@%s done module=%s dir=%s boot=%s tainted=%s pids=%s\n' "$n" "$mod" "$where" "$b" "$l" "$(echo $pids | tr ' ' ,)"

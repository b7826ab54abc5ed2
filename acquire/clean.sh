# Finishes what an agent left behind. Run by sh as root after the connection of
# a capture was lost. $2 is the agent's nonce, which stands in its command line,
# $3 its folder, $4 LiME's port, $5 the seconds that the agent gets to clean by itself.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
n=$1 agent=$2 dir=$3 port=$4 patience=$5
find_all() { printf '%s\n' "$@" | grep -l -z -F -f - /proc/[0-9]*/cmdline 2>/dev/null; }
ours() {
	for p in $(find_all "$agent" "$dir"); do
		p=${p#/proc/}
		printf '%s ' "${p%/cmdline}"
	done
}
# loaded: the module is there, and it is ours or cannot be told.
loaded() {
	grep -q '^lime ' /proc/modules || return 1
	read -r l 2>/dev/null </sys/module/lime/parameters/path || return 0
	[ "$l" = "tcp:$port" ]
}
# The search must find this very script, or it proves nothing.
find_all "$BOOT" >/dev/null || { printf '@%s blind\n' "$n"; exit 1; }
i=0
pids=$(ours)
while [ -n "$pids" ] && [ "$i" -lt "$patience" ]; do
	sleep 1
	i=$((i + 1))
	pids=$(ours)
done
if [ -n "$pids" ]; then
	kill -TERM $pids 2>/dev/null
	i=0
	while [ -n "$pids" ] && [ "$i" -lt 15 ]; do
		sleep 1
		i=$((i + 1))
		pids=$(ours)
	done
	[ -z "$pids" ] || kill -KILL $pids 2>/dev/null
fi
i=0
while loaded && [ "$i" -lt 5 ]; do
	rmmod lime 2>/dev/null
	i=$((i + 1))
	loaded && sleep 1
done
if [ -d "$dir" ] && [ ! -L "$dir" ] && [ -O "$dir" ]; then
	rm -f "$dir/lime.ko"
	rmdir "$dir"
fi
mod=gone where=gone
loaded && mod=loaded
[ -d "$dir" ] && [ ! -L "$dir" ] && [ -O "$dir" ] && where=left
pids=$(ours)
read -r b 2>/dev/null </proc/sys/kernel/random/boot_id
read -r m 2>/dev/null </etc/machine-id
l=$(dd bs=64 count=1 </proc/sys/kernel/tainted 2>/dev/null) # byte by byte there is one digit
printf '@%s done module=%s dir=%s boot=%s machine=%s tainted=%s pids=%s\n' "$n" "$mod" "$where" "$b" "$m" "$l" "$(echo $pids | tr ' ' ,)"

# Shows the swap areas of this host and what those are that are named, from the fourth argument
# on. Reads only, of each area one page. Run by sh as root. $2 marks the processes that
# have read an area, or is nothing; $3 are the seconds that they get to end by themselves.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
n=$1 mark=$2 patience=$3
shift 3
s() { printf '\n@@%s %s\n' "$n" "$1"; }
find_all() { printf '%s\n' "$1" | grep -l -F -f - /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; }
ours() {
	for p in $(find_all "$mark"); do
		p=${p#/proc/}
		printf '%s ' "${p%/*}"
	done
}
# size FILE: its bytes, without reading it.
size() {
	set -- $(ls -lnLd -- "$1")
	echo "bytes=$5"
}
s boot; cat /proc/sys/kernel/random/boot_id
s swaps; cat /proc/swaps
s zswap; cat /sys/module/zswap/parameters/enabled 2>/dev/null
i=0
for p; do
	i=$((i + 1))
	s "area$i"
	if [ -b "$p" ]; then
		echo kind=device
		b=$(readlink -f -- "$p")
		b=$(printf %s "${b#/dev/}" | tr / '!')
		if read -r l 2>/dev/null <"/sys/class/block/$b/size"; then
			echo "sectors=$l"
		else
			echo "bytes=$(blockdev --getsize64 "$p")"
		fi
		read -r l 2>/dev/null <"/sys/class/block/$b/dm/name" && echo "name=$l"
		read -r l 2>/dev/null <"/sys/class/block/$b/dm/uuid" && echo "uuid=$l"
	elif [ -f "$p" ]; then
		echo kind=file
		size "$p"
	else
		continue
	fi
	# Around the page cache, which may be older than what the kernel swapped out.
	dd if="$p" of=/dev/null iflag=direct bs=4096 count=1 2>/dev/null && echo direct=yes
done
if [ -n "$mark" ]; then
	# The search must find this very script, or it proves nothing.
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
s end

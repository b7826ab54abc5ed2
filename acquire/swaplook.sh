# Shows the swap areas of this host and what those are that are named, from the fourth argument
# on. Reads only, of each area one page. Run by sh as root. $2 marks the processes that
# have read an area, or is nothing; $3 are the seconds that they get to end by themselves.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
n=$1 mark=$2 patience=$3
shift 3
s() { printf '\n@@%s %s\n' "$n" "$1"; }
# size FILE: its bytes, without reading it.
size() {
	set -- $(ls -lnLd -- "$1")
	echo "bytes=$5"
}
s boot; cat /proc/sys/kernel/random/boot_id
# A kernel without swap has no such file.
s swaps; if [ -e /proc/swaps ]; then cat /proc/swaps; else echo none; fi
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
[ -z "$mark" ] || processes "$mark" "$patience"
s end

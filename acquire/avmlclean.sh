# Looks for what a capture with AVML may have left, and removes it. Run by sh as root. $2 marks
# its processes, which get $3 seconds to end by themselves; $4 is its folder.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
n=$1 mark=$2 patience=$3 dir=$4
s() { printf '\n@@%s %s\n' "$n" "$1"; }
s boot; cat /proc/sys/kernel/random/boot_id
s machine; cat /etc/machine-id
processes "$mark" "$patience"
if [ -d "$dir" ] && [ ! -L "$dir" ] && [ -O "$dir" ]; then
	rm -f "$dir/avml" "$dir/out"
	rmdir "$dir"
fi
s dir; [ ! -d "$dir" ] || [ -L "$dir" ] || [ ! -O "$dir" ] || echo left
s tainted; cat /proc/sys/kernel/tainted
s end

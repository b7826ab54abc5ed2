# Shows what a capture through /proc/kcore rests on, and which of its processes are there.
# Run by sh as root. $2 is /proc/kcore, $3 how many pages of headers it has, $4 what marks
# the processes of a capture that has ended, or nothing, $5 the seconds that they get to end by
# themselves.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
n=$1 core=$2 pages=$3 mark=$4 patience=$5
s() { printf '\n@@%s %s\n' "$n" "$1"; }
s boot; cat /proc/sys/kernel/random/boot_id
s iomem; cat /proc/iomem
s kcore; dd if="$core" bs=4096 count="$pages" 2>/dev/null | od -An -v -tx1
[ -z "$mark" ] || processes "$mark" "$patience"
s tainted; cat /proc/sys/kernel/tainted
s end

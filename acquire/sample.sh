# Prints a checksum of a page of zeros, then of each page of /proc/kcore that
# is named by its number. Reads only. $2 makes the checksums: cksum or sha256sum.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
n=$1 sum=$2
shift 2
printf '\n@%s zero ' "$n"
dd if=/dev/zero bs=4096 count=1 2>/dev/null | "$sum"
for p; do
	printf '@%s %s ' "$n" "$p"
	dd if=/proc/kcore bs=4096 skip="$p" count=1 2>/dev/null | "$sum"
done
printf '@%s end\n' "$n"

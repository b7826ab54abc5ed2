# Prints a checksum of a page of zeros, then of each page of /proc/kcore that
# is named by its number. Reads only.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
n=$1
shift
printf '\n@%s zero ' "$n"
dd if=/dev/zero bs=4096 count=1 2>/dev/null | cksum
for p; do
	printf '@%s %s ' "$n" "$p"
	dd if=/proc/kcore bs=4096 skip="$p" count=1 2>/dev/null | cksum
done
printf '@%s end\n' "$n"

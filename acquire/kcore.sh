# Reads memory through /proc/kcore, and writes nothing but to its standard output. Run by
# sh as root, once for each connection. $1 marks our lines, and stands in the
# environment of what is started here, so that it can be found; $2 is /proc/kcore.
# Each line of standard input is an order: a number, an offset and a size in bytes, both
# whole pages. The answer is that many bytes and a line. Of what could not be
# read it is zeros, and the line says so: the length never depends on what was read.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
SHOTGLASS=$1
export LC_ALL PATH SHOTGLASS
n=$1 core=$2
read -r b </proc/sys/kernel/random/boot_id
# dd of coreutils 8.16 and of busybox with FEATURE_DD_IBS_OBS; others seek for the next one.
bytes=
dd if=/dev/zero bs=8 iflag=skip_bytes skip=3 count=1 >/dev/null 2>&1 && bytes=1
exec 3>&1
printf '\n@%s ready %s\n' "$n" "$b"
while read -r i off size; do
	# One read of the kernel each: it gives all or nothing.
	if [ -n "$bytes" ]; then
		s=$(dd if="$core" iflag=skip_bytes skip="$off" bs="$size" count=1 2>&1 >&3)
		rc=$?
	else
		exec 4<"$core" || exit 1
		s=$({ dd bs=4096 skip=$((off / 4096)) count=0 2>/dev/null && dd bs="$size" count=1 2>&1 >&3; } <&4)
		rc=$?
		exec 4<&-
	fi
	case $rc.$s in
	0.*'1+0 records in'*'1+0 records out'*) a=ok ;;
	*open*) break ;;
	*'0+0 records in'* | 1.*)
		case $s in *'1+0 records in'* | *'0+1 records in'*) break ;; esac
		dd if=/dev/zero bs="$size" count=1 2>/dev/null
		a=no
		;;
	*) break ;;
	esac
	printf '\n@%s %s %s\n' "$n" "$i" "$a"
	s=
done
# An order that was not carried out ends the output short, which tells more than a line could.
[ -z "$s" ] || printf '%s\n' "$s" >&2

# Reads memory through /proc/kcore, and writes nothing but to its standard output. Run by
# sh as root, once for each connection. $1 marks our lines, and stands in the
# environment of what is started here, so that it can be found; $2 is /proc/kcore, or a
# swap area, $3 a compressor for what is read, or nothing; $4 is direct to read around the page cache.
# Each line of standard input is an order: a number, an offset and a size in bytes, both
# whole pages, and how to read. The answer is what was read and a line:
#   all    at once: that many bytes, ok; or zeros (compressed: nothing), no
#   pages  one by one: that many bytes, of what could not be read zeros; then how many could
#          be read and could not, as N+M, and which could not, as far as dd tells
# Its length never depends on what was read, or the compressor's frame has an end.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
SHOTGLASS=$1
export LC_ALL PATH SHOTGLASS
n=$1 core=$2 zip=$3 direct=$4
read -r b </proc/sys/kernel/random/boot_id
# dd of coreutils 8.16 and of busybox with FEATURE_DD_IBS_OBS; others seek for the next one.
bytes=
dd if=/dev/zero bs=8 iflag=skip_bytes skip=3 count=1 >/dev/null 2>&1 && bytes=1

# One read of the kernel: it gives all or nothing.
all() {
	if [ -n "$bytes" ]; then
		dd if="$core" iflag="skip_bytes${direct:+,$direct}" skip="$off" bs="$size" count=1
	else
		{ dd bs=4096 skip=$((off / 4096)) count=0 2>/dev/null && dd ${direct:+"iflag=$direct"} bs="$size" count=1; } <"$core"
	fi
}
# The dd that goes on after errors finds its offset, and does not seek for it: that of
# coreutils forgets what it skipped where files tell no size, and goes on elsewhere.
pages() {
	{ dd bs=4096 skip=$((off / 4096)) count=0 2>/dev/null && dd ${direct:+"iflag=$direct"} bs=4096 count=$((size / 4096)) conv=noerror,sync; } <"$core"
}

# failed: which pages, from what dd of coreutils says: before each error it tells how many
# records came before it, and at the end how many there were.
failed() {
	printf '%s\n' "$s" | while read -r a b; do
		[ "$b" = "records in" ] && printf '%s ' $((${a%+*} + ${a#*+}))
	done
}

# cpu: of the processes that have run here, in ticks.
cpu() {
	read -r l <"/proc/$$/stat"
	set -- ${l##*) }
	printf %s $((${14} + ${15}))
}

exec 3>&1
printf '\n@%s ready %s\n' "$n" "$b"
while read -r i off size how; do
	case $how in all | pages) ;; *) exit 1 ;; esac
	if [ -n "$zip" ]; then
		s=$({ { $how 2>&4; echo "dd exited $?" >&4; } | $zip 2>&4 >&3; echo "compressor exited $?" >&4; } 4>&1)
		case $s in *'compressor exited 0'*) ;; *) break ;; esac
		rc=${s##*dd exited } rc=${rc%%[!0-9]*}
	else
		s=$($how 2>&1 >&3)
		rc=$?
	fi
	case $how.$rc.$s in
	*'invalid file offset'*) break ;;
	pages.*' records in'*)
		f=$(failed)
		set -- $f
		[ $# -gt 0 ] || break
		f=${f% } last=${f##* }
		[ "$last" = $((size / 4096)) ] || break
		m=$(printf '%s\n' "$s" | while read -r a b; do [ "$b" = "records in" ] && printf '%s ' "$a"; done)
		m=${m% } f=${f%"$last"}
		f=${f% }
		a="pages ${m##* }${f:+ $f}"
		;;
	pages.*) break ;;
	all.0.*'1+0 records in'*'1+0 records out'*) a=ok ;;
	*open*) break ;;
	*'0+0 records in'* | all.1.*)
		case $s in *'1+0 records in'* | *'0+1 records in'*) break ;; esac
		[ -n "$zip" ] || dd if=/dev/zero bs="$size" count=1 2>/dev/null
		a=no
		;;
	*) break ;;
	esac
	[ -z "$zip" ] || a="$(cpu) $a"
	printf '\n@%s %s %s\n' "$n" "$i" "$a"
	s=
done
# An order that was not carried out ends the output short, which tells more than a line could.
[ -z "$s" ] || printf '%s\n' "$s" >&2

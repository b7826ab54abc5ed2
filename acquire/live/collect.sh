# Prints what goes on on this host, and what its kernel says of itself. Reads only; sent by shotglass,
# run by sh as root. $1 marks where an item begins and ends, so that no file's content can pose as
# another's; the other arguments are the items.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
n=$1
# Programs that outlive the connection are found by it.
SHOTGLASS=$BOOT
export LC_ALL PATH SHOTGLASS
shift
k=$(uname -r)

# file LIMIT NAME...: the first of the files that is there. Without /dev, FIFOs and the like: only
# regular files, which those of /proc and /sys are, too.
file() {
	l=$1
	shift
	r=missing
	for f; do
		[ -f "$f" ] || continue
		head -c "$l" <"$f" 2>/dev/null
		r="$? $f"
		return
	done
}
# lines NAME...: text files, each line after the name of its file.
lines() {
	grep -aH '' "$@" 2>/dev/null
	r=0
}
# tool NAME ARG...
tool() {
	r=missing
	command -v "$1" >/dev/null || return
	"$@" 2>/dev/null
	r=$?
}

# processes: one head for 500 of them, not one for each. What lies between them is the boot id and the
# command line of this shell, which holds a nonce. Arguments may be megabytes, of any user's making: a page of
# them is read, which is all that kernels before 4.2 showed.
processes() {
	cd /proc || return
	l=$(echo [0-9]*)
	b=sys/kernel/random/boot_id
	m=$$/cmdline
	echo "$l"
	head -qc 4096 $b $m 2>/dev/null
	echo
	a= i=0
	for p in $l; do
		c=$p/cmdline
		[ "$p" != $$ ] || c=
		a="$a $b $m $p/stat $c"
		i=$((i + 1))
		if [ "$i" = 500 ]; then
			head -qc 4096 $a 2>/dev/null
			a= i=0
		fi
	done
	head -qc 4096 $a $b $m 2>/dev/null
	cd /
	r=0
}

for i; do
	item=$i
	printf '\n@@%s + %s\n' "$n" "$item"
	r=0
	case $item in
	clock)
		echo "now=$(date -u +%s.%N)"
		read -r a 2>/dev/null </proc/uptime && echo "uptime=$a"
		grep '^btime ' /proc/stat
		echo "ticks=$(getconf CLK_TCK 2>/dev/null)"
		echo "shell=$$"
		;;
	processes) processes ;;
	executables)
		ls -lnd /proc/[0-9]*/exe 2>/dev/null
		r=0
		;;
	sockets) lines /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 /proc/net/udplite /proc/net/udplite6 /proc/net/raw /proc/net/raw6 /proc/net/icmp /proc/net/unix /proc/net/packet /proc/net/netlink /proc/net/sctp/eps /proc/net/vsock ;;
	modules) file 1048577 /proc/modules ;;
	ps)
		tool ps -eww -o pid,ppid,user,lstart,args
		[ "$r" = 0 ] || tool ps -o pid,ppid,user,args
		[ "$r" = 0 ] || tool ps
		;;
	ss) tool ss -anpe ;;
	sysmodules)
		ls -d /sys/module/*/initstate 2>/dev/null
		r=0
		;;
	mounts) file 4194305 /proc/$$/mountinfo ;;
	routes) lines /proc/net/route /proc/net/ipv6_route /proc/net/arp /proc/net/dev /proc/net/if_inet6 ;;
	ip)
		tool ip -o address
		[ "$r" = missing ] || {
			tool ip route show table all
			tool ip neighbour
		}
		;;
	logins)
		tool who -a
		[ "$r" = 0 ] || tool who
		;;
	utmp) file 4194305 /run/utmp /var/run/utmp ;;
	version) file 4097 /proc/version ;;
	cmdline) file 65537 /proc/cmdline ;;
	os-release) file 65537 /etc/os-release /usr/lib/os-release ;;
	iomem) file 1048577 /proc/iomem ;;
	vmcoreinfo)
		r=missing
		[ ! -e /proc/kcore ] || {
			dd if=/proc/kcore bs=4096 count=32 2>/dev/null
			r="$? /proc/kcore"
		}
		;;
	vmcoreinfo-address) file 4097 /sys/kernel/vmcoreinfo ;;
	config) file 4194305 "/boot/config-$k" "/lib/modules/$k/config" /proc/config.gz ;;
	system-map) file 33554433 "/boot/System.map-$k" "/lib/modules/$k/System.map" ;;
	btf) file 50331649 /sys/kernel/btf/vmlinux ;;
	kallsyms) file 67108865 /proc/kallsyms ;;
	btf-modules)
		# What is read of sysfs at a time is a page, and tar pads with zeros what it takes for a file that shrank.
		r=missing m=
		cd /sys/kernel/btf 2>/dev/null && {
			for f in *; do [ "$f" = vmlinux ] || [ ! -f "$f" ] || m="$m $f"; done
			[ -z "$m" ] || {
				{
					ls -ln -- $m
					echo
					cat -- $m
				} 2>/dev/null | head -c 16777217
				r="$? /sys/kernel/btf"
			}
			cd /
		}
		;;
	*) r=unknown ;;
	esac
	printf '\n@@%s - %s\n' "$n" "$r"
done
printf '\n@@%s end\n' "$n"

# Reads facts about this host; writes nothing. Sent by shotglass, run by sh.
# $1 marks the sections, so that no file's content can pose as another's.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
s() { printf '\n@@%s %s\n' "$n" "$1"; }
f() { s "$1"; cat "$2" 2>/dev/null; }
n=$1
s uid; id -u
s node; uname -n
s release; uname -r
s machine; uname -m
f version /proc/version
f cmdline /proc/cmdline
f uptime /proc/uptime
f loadavg /proc/loadavg
f boot_id /proc/sys/kernel/random/boot_id
f machine_id /etc/machine-id
f os_release /etc/os-release
f iomem /proc/iomem
f meminfo /proc/meminfo
f swaps /proc/swaps
f mounts /proc/mounts
f tainted /proc/sys/kernel/tainted
f lockdown /sys/kernel/security/lockdown
f modules_disabled /proc/sys/kernel/modules_disabled
f sig_enforce /sys/module/module/parameters/sig_enforce
f kptr_restrict /proc/sys/kernel/kptr_restrict
f port_range /proc/sys/net/ipv4/ip_local_port_range
s tcp_buffers; cat /proc/sys/net/ipv4/tcp_wmem /proc/sys/net/ipv4/tcp_rmem 2>/dev/null
s la57; grep -c -m1 -w la57 /proc/cpuinfo
s lime_loaded; grep '^lime ' /proc/modules
s lime_vermagic; modinfo -F vermagic lime 2>/dev/null
s lime_installed; k=/lib/modules/$(uname -r); for t in "$(modinfo -F filename lime 2>/dev/null)" $k/updates/lime.ko* $k/updates/*/lime.ko* $k/extra/lime.ko* $k/extra/*/lime.ko*; do [ -f "$t" ] && echo "$t"; done
s banner_address; grep -m1 ' linux_banner$' /proc/kallsyms
s sizes; ls -lnL /sys/kernel/btf/* "/boot/System.map-$(uname -r)" "/boot/config-$(uname -r)" 2>/dev/null
set -- "$n" /proc/[0-9]*; echo "processes $(($# - 1))"
wc -l /proc/modules /proc/net/tcp /proc/net/udp /proc/net/unix /proc/self/mountinfo 2>/dev/null
s listening; grep -h ' 0A ' /proc/net/tcp /proc/net/tcp6 2>/dev/null
s tools; for t in cat insmod rmmod sha256sum mkfifo dd grep od cksum mkdir sleep; do command -v "$t" >/dev/null && printf '%s ' "$t"; done
s container; cat /run/systemd/container 2>/dev/null; [ -e /.dockerenv ] && echo docker
s dmi; for t in sys_vendor product_name board_asset_tag product_uuid; do printf '%s=' "$t"; cat "/sys/class/dmi/id/$t" 2>/dev/null || echo; done
s kcore_denied; if [ -e /proc/kcore ]; then (: </proc/kcore) 2>&1; else echo missing; fi
s kcore; dd if=/proc/kcore bs=4096 count=4 2>/dev/null | od -An -v -tx1
s end

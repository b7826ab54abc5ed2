#!/bin/bash
# Builds what package lab boots: a Debian 12 guest, LiME modules for its kernel,
# test keys and Volatility. Everything lands in the cache folder, nothing in the
# tree. Run it as often as you like: a part is built again only when the function
# that builds it, or what that function reads, has changed. See README.md.
set -euo pipefail
umask 022
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

readonly suite=bookworm
readonly password='correct horse'   # opspw's; lab.Password
readonly passphrase='open sesame'   # the encrypted key's; lab.Passphrase
readonly volatility=2.11.0
readonly debs=(
	qemu-system-x86 mmdebstrap debian-archive-keyring e2fsprogs kmod cpio
	openssh-server openssh-client python3-venv make gcc libc6-dev libelf1 zstd groff-base busybox dash
)

lab=${SHOTGLASS_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/shotglass}/lab

say() { printf 'lab: %s\n' "$*" >&2; }

die() {
	printf 'lab: error: %s\n' "$1" >&2
	[ $# -lt 2 ] || printf 'lab: hint: %s\n' "$2" >&2
	exit 1
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# install_debs installs the missing packages. Installing openssh-server would
# start an sshd on port 22 and enable it at boot; the tests want only the
# programs, so both are prevented unless the machine already had it.
install_debs() {
	local missing=() deb
	for deb in "${debs[@]}"; do
		installed "$deb" || missing+=("$deb")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ "$(id -u)" != 0 ]; then
		die "these packages are missing: ${missing[*]}" \
			"sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}"
	fi
	say "installing ${missing[*]}"
	local policy=/usr/sbin/policy-rc.d made='' status=0
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
		made=yes
	fi
	{
		apt-get -q update &&
			DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${missing[@]}"
	} >"$lab/apt.log" 2>&1 9>&- || status=$?
	[ -z "$made" ] || rm -f "$policy"
	[ "$status" = 0 ] || die "apt-get failed: $(tail -n 3 "$lab/apt.log")" "cat $lab/apt.log"
	case " ${missing[*]} " in
	*' openssh-server '*) systemctl disable ssh.service >/dev/null 2>&1 || true ;;
	esac
}

# part NAME builds $lab/NAME with the function build_NAME, unless it is there with
# this script's stamp. build_NAME runs in a temporary folder, which becomes
# $lab/NAME only when it succeeded: what is half built is never there.
part() {
	local name=$1 start=$SECONDS status=0 tmp=$lab/.tmp-$1
	if [ "$(cat "$lab/$name/.stamp" 2>/dev/null)" = "$stamp" ]; then
		say "$name: up to date"
		return 0
	fi
	if [ "$name" = guest ] && [ "$(id -u)" != 0 ]; then
		die 'building the guest needs root' \
			"sudo SHOTGLASS_LAB_CACHE='${lab%/lab}' ${BASH_SOURCE[0]}"
	fi
	say "$name: building"
	rm -rf "$tmp"
	mkdir -p "$tmp"
	# Neither || nor if: both would turn set -e off inside.
	set +e
	(set -e && cd "$tmp" && "build_$name") >"$lab/$name.log" 2>&1
	status=$?
	set -e
	if [ "$status" != 0 ]; then
		tail -n 15 "$lab/$name.log" >&2
		die "building $name failed" "cat $lab/$name.log"
	fi
	echo "$stamp" >"$tmp/.stamp"
	rm -rf "$lab/.old-$name"
	[ ! -e "$lab/$name" ] || mv "$lab/$name" "$lab/.old-$name"
	mv "$tmp" "$lab/$name"
	rm -rf "$lab/.old-$name"
	say "$name: built in $((SECONDS - start)) s"
}

# build_keys makes the client's keys and the guest's host keys.
build_keys() {
	local kind
	for kind in ed25519 rsa ecdsa; do
		ssh-keygen -q -t "$kind" -N '' -C "lab $kind" -f "id_$kind"
		ssh-keygen -q -t "$kind" -N '' -C guest -f "ssh_host_${kind}_key"
	done
	cp -p id_ed25519 id_encrypted
	cp -p id_ed25519.pub id_encrypted.pub
	ssh-keygen -q -p -P '' -N "$passphrase" -f id_encrypted
	cat id_{ed25519,rsa,ecdsa}.pub >authorized_keys
	cat ssh_host_*_key.pub >host_keys
	for kind in ed25519 rsa ecdsa; do
		ssh-keygen -l -f "ssh_host_${kind}_key.pub"
	done >fingerprints
}

# build_guest makes the root file system, the kernel and the initramfs, and
# keeps the packages that build_modules reads: apt answers for the guest's
# suite there, whatever the machine itself runs.
build_guest() {
	local root=$PWD/root release
	mkdir debs
	# INITRD=No: the kernel package would build an initramfs that we don't use.
	INITRD=No mmdebstrap --mode=root --variant=minbase \
		--include=linux-image-cloud-amd64,openssh-server,sudo,systemd-sysv,iproute2,kmod,procps \
		--aptopt='Acquire::Languages "none"' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--customize-hook="cd '$PWD/debs' && $(declare -f fetch_debs); fetch_debs \"\$1\"" \
		"$suite" "$root"
	release=$(basename "$root"/lib/modules/*)
	echo "$release" >release
	cp "$root/boot/vmlinuz-$release" vmlinuz
	customize_guest "$root"
	build_initramfs "$root" "$release"
	mke2fs -q -t ext4 -m 0 -L lab -d "$root" root.img 1200M
	rm -rf "$root"
}

# fetch_debs runs in mmdebstrap's hook: apt there answers for the guest's suite.
fetch_debs() {
	set -e
	export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
	release=$(basename "$1"/lib/modules/*)
	base=${release%-cloud-amd64}
	apt-get -q download busybox-static lime-forensics-dkms linux-kbuild-6.1 \
		"linux-headers-$release" "linux-headers-$base-common" "linux-headers-$base-amd64"
}

customize_guest() {
	local root=$1 user unit
	# Names and clocks.
	echo shotglass-lab >"$root/etc/hostname"
	printf '127.0.0.1 localhost shotglass-lab\n' >"$root/etc/hosts"
	: >"$root/etc/fstab"
	: >"$root/etc/resolv.conf"
	echo 5f7c5e7c0f0b4b0e9d0a5c1f2b3d4e5f >"$root/etc/machine-id"

	# Users.
	for user in ops opspw nosudo; do
		chroot "$root" useradd --create-home --shell /bin/bash "$user"
	done
	echo "opspw:$password" | chroot "$root" chpasswd
	echo 'ops ALL=(ALL:ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/ops"
	echo 'opspw ALL=(ALL:ALL) ALL' >"$root/etc/sudoers.d/opspw"
	chmod 440 "$root"/etc/sudoers.d/ops*
	for user in root ops opspw nosudo; do
		local home=$root/home/$user
		[ "$user" != root ] || home=$root/root
		install -d -m 700 "$home/.ssh"
		install -m 600 "$lab/keys/authorized_keys" "$home/.ssh/authorized_keys"
		chroot "$root" chown -R "$user:$user" "${home#"$root"}/.ssh"
	done

	# sshd: the host keys known to the tests, password and keyboard-interactive on.
	rm -f "$root"/etc/ssh/ssh_host_*
	install -m 600 "$lab"/keys/ssh_host_*_key "$root/etc/ssh/"
	install -m 644 "$lab"/keys/ssh_host_*_key.pub "$root/etc/ssh/"
	cat >"$root/etc/ssh/sshd_config.d/lab.conf" <<-'CONF'
		PasswordAuthentication yes
		KbdInteractiveAuthentication yes
		PermitRootLogin prohibit-password
		UseDNS no
	CONF
	rm -f "$root"/etc/update-motd.d/* "$root/etc/motd"

	# One address, set by one program: udev and a network manager cost seconds of
	# an emulated boot.
	cat >"$root/etc/systemd/system/lab-net.service" <<-'UNIT'
		[Unit]
		Description=address of the lab guest
		DefaultDependencies=no
		Before=network.target network-online.target ssh.service
		[Service]
		Type=oneshot
		RemainAfterExit=yes
		ExecStart=/sbin/ip -batch /etc/lab-net
		[Install]
		WantedBy=sysinit.target
	UNIT
	printf '%s\n' 'link set eth0 up' 'addr add 10.0.2.15/24 dev eth0' \
		'route add default via 10.0.2.2' >"$root/etc/lab-net"
	chroot "$root" systemctl enable lab-net.service ssh.service
	chroot "$root" systemctl set-default multi-user.target
	for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
		e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer \
		systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
		systemd-udev-trigger.service systemd-udev-settle.service \
		systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service \
		systemd-sysusers.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
		systemd-random-seed.service systemd-pstore.service systemd-journal-flush.service \
		systemd-modules-load.service systemd-remount-fs.service systemd-binfmt.service \
		systemd-machine-id-commit.service systemd-ask-password-wall.path \
		systemd-ask-password-console.path getty.target serial-getty@ttyS0.service \
		kmod-static-nodes.service modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service \
		modprobe@efi_pstore.service modprobe@fuse.service modprobe@loop.service dev-hugepages.mount dev-mqueue.mount \
		sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
		sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount \
		systemd-user-sessions.service; do
		ln -sf /dev/null "$root/etc/systemd/system/$unit"
	done
	install -d "$root/etc/systemd/journald.conf.d"
	printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=4M\n' >"$root/etc/systemd/journald.conf.d/lab.conf"
	chroot "$root" depmod "$(cat release)"
	rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/boot/vmlinuz-* "$root"/usr/share/doc/*
}

# build_initramfs makes an initramfs that loads the drivers of our one machine
# and switches to the disk; Debian's own starts udev first.
build_initramfs() {
	local root=$1 release=$2 dir=$PWD/initramfs module
	mkdir -p "$dir"/{bin,dev,proc,sys,root,m}
	dpkg-deb --fsys-tarfile debs/busybox-static_*.deb | tar -x -C "$dir" ./bin/busybox
	for module in virtio_pci virtio_blk virtio_net virtio-rng ext4 crc32c_generic; do
		modprobe -d "$root" -S "$release" --show-depends "$module"
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' >modules
	local n=10
	while read -r module; do
		cp "$module" "$dir/m/$n-$(basename "$module")"
		n=$((n + 1))
	done <modules
	cat >"$dir/init" <<-'INIT'
		#!/bin/busybox sh
		b=/bin/busybox
		$b mount -t proc proc /proc
		$b mount -t devtmpfs dev /dev
		for m in /m/*; do $b insmod "$m"; done
		n=0
		while [ ! -b /dev/vda ] && [ $n -lt 200 ]; do $b usleep 50000; n=$((n + 1)); done
		$b mount -t ext4 -o rw,noatime /dev/vda /root || exec $b sh
		$b mount --move /dev /root/dev
		$b umount /proc
		exec $b switch_root /root /sbin/init
	INIT
	chmod 755 "$dir/init"
	(cd "$dir" && find . | cpio -o -H newc -R 0:0 --quiet) >initrd.img
	rm -rf "$dir" modules
}

# build_modules makes LiME for the guest's kernel; build_modules-other for the
# other flavour of the same version, which the guest's kernel must refuse.
build_modules() { build_lime "$(cat "$lab/guest/release")"; }

build_modules-other() {
	local release
	release=$(cat "$lab/guest/release")
	build_lime "${release%-cloud-amd64}-amd64"
}

build_lime() {
	local release=$1 deb
	mkdir build
	for deb in "$lab"/guest/debs/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -x -C build
	done
	# The headers name each other by absolute path.
	sed -i "s|/usr/src|$PWD/build/usr/src|g; s|/usr/lib|$PWD/build/usr/lib|g" build/usr/src/linux-headers-*/Makefile
	cp -r build/usr/src/lime-forensics-* build/lime
	make -C "$PWD/build/usr/src/linux-headers-$release" M="$PWD/build/lime" modules
	strip --strip-unneeded build/lime/lime.ko
	cp build/lime/lime.ko "lime-$release.ko"
	sha256sum "lime-$release.ko" >"lime-$release.ko.sha256"
	modinfo "./lime-$release.ko"
	rm -rf build
}

# build_volatility makes a venv. Its scripts name it by absolute path, so they are
# pointed at the folder that the venv is going to have.
build_volatility() {
	/usr/bin/python3 -m venv venv
	venv/bin/python -m pip install -q --disable-pip-version-check "volatility3==$volatility"
	grep -rlI "$PWD" venv/bin venv/pyvenv.cfg | xargs -r sed -i "s|$PWD|$lab/volatility|g"
}

mkdir -p "$lab"
lab=$(cd "$lab" && pwd)
stamp=$(sha256sum <"${BASH_SOURCE[0]}" | cut -d ' ' -f 1)
exec 9>"$lab/.lock"
flock -n 9 || { say 'another setup is running, waiting for it' && flock 9; }

install_debs
[ $SECONDS -lt 2 ] || say "packages: installed in $SECONDS s"
part volatility &
part keys
part guest
part modules
part modules-other
wait $!
# Under sudo the products are for the one who called it.
[ -z "${SUDO_UID-}" ] || chown -R "$SUDO_UID:${SUDO_GID-$SUDO_UID}" "$lab"
say "ready in $SECONDS s: $lab"

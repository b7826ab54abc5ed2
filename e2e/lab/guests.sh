#!/bin/bash
# Builds what else the end-to-end tests boot, into the cache beside what setup.sh builds,
# which has to be there: Debian 13 with LiME for its kernel, and Debian's arm64 kernel
# with nothing but busybox and sshd. They are no part of setup.sh, since a change there
# builds everything anew. See README.md.
set -euo pipefail
umask 022
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
cd "$(dirname "${BASH_SOURCE[0]}")"

# The functions of setup.sh, without what it does at its end.
# shellcheck source=/dev/null
source <(sed '/^mkdir -p "\$lab"/,$d; s/^readonly //' setup.sh)
debs=(qemu-system-arm mmdebstrap debian-archive-keyring kmod cpio binutils xz-utils e2fsprogs ovmf)

# build_guest-13 is setup.sh's guest of the next release.
build_guest-13() {
	local root=$PWD/root release
	mkdir debs
	cp "$lab"/guest/debs/busybox-static_*.deb debs/ # where build_initramfs looks
	INITRD=No mmdebstrap --mode=root --variant=minbase \
		--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
		--include=linux-image-cloud-amd64,openssh-server,sudo,systemd-sysv,iproute2,kmod,procps \
		--aptopt='Acquire::Languages "none"' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		trixie "$root"
	release=$(basename "$root"/lib/modules/*)
	echo "$release" >release
	cp "$root/boot/vmlinuz-$release" vmlinuz
	# The busybox of the initramfs reads no packed modules.
	find "$root/lib/modules/$release/kernel" -name '*.ko.xz' -exec xz -d {} +
	customize_guest "$root"
	build_initramfs "$root" "$release"
	mke2fs -q -t ext4 -m 0 -L lab -d "$root" root.img 1200M
	rm -rf "$root"
}

# build_modules-13 makes LiME in a Debian 13 of its own, whose compiler is the kernel's. It
# is packed as dkms packs it there.
build_modules-13() {
	local release
	release=$(cat "$lab/guest-13/release")
	cat >build.sh <<-BUILD
		set -e
		cd "\$1/root"
		APT_CONFIG="\$MMDEBSTRAP_APT_CONFIG" apt-get -q download lime-forensics-dkms
		dpkg-deb -x lime-forensics-dkms_*.deb .
		mv usr/src/lime-forensics-* lime
		chroot "\$1" make -C /usr/src/linux-headers-$release M=/root/lime modules
		cp lime/lime.ko '$PWD/'
	BUILD
	mmdebstrap --mode=root --variant=minbase --format=null \
		--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
		--include="make,linux-headers-$release" \
		--aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--customize-hook="sh '$PWD/build.sh' \"\$1\"" trixie -
	strip --strip-unneeded lime.ko
	modinfo ./lime.ko
	xz --check=crc32 lime.ko
	mv lime.ko.xz "lime-$release.ko.xz"
	rm build.sh
}

# build_sign-file takes the program that signs modules from what setup.sh kept.
build_sign-file() {
	dpkg-deb --fsys-tarfile "$lab"/guest/debs/linux-kbuild-*.deb |
		tar -x --wildcards --transform='s|.*/||' './usr/lib/linux-kbuild-*/scripts/sign-file'
	test -x sign-file
}

# build_guest-arm64 makes an initramfs that is all of its guest. No program of it can run
# here, so packages are unpacked and not installed.
build_guest-arm64() {
	local root=$PWD/root dir=$PWD/initramfs release n=10 module
	mmdebstrap --mode=root --variant=extract --architectures=arm64 \
		--include=linux-image-cloud-arm64,busybox-static,openssh-server \
		--aptopt='Acquire::Languages "none"' "$suite" "$root"
	release=$(basename "$root"/lib/modules/*)
	echo "$release" >release
	cp "$root/boot/vmlinuz-$release" vmlinuz

	mkdir -p "$dir"/{bin,dev,etc/ssh,lib,m,proc,root/.ssh,run,sys,tmp,usr/sbin,var/empty}
	cp "$root/bin/busybox" "$dir/bin/"
	cp "$root/usr/sbin/sshd" "$dir/usr/sbin/"
	cp -L "$root"/lib/ld-linux-aarch64.so.1 "$dir/lib/"
	copy_libraries "$root" "$dir/usr/sbin/sshd" "$dir/lib"
	depmod -b "$root" "$release"
	for module in virtio_pci virtio_net virtio-rng; do
		modprobe -d "$root" -S "$release" --show-depends "$module"
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' >modules
	while read -r module; do
		cp "$module" "$dir/m/$n-$(basename "$module")"
		n=$((n + 1))
	done <modules

	printf '%s\n' 'root:*:0:0:root:/root:/bin/sh' 'sshd:*:100:65534::/var/empty:/bin/false' >"$dir/etc/passwd"
	printf '%s\n' 'root:x:0:' 'nogroup:x:65534:' >"$dir/etc/group"
	printf '%s\n' 'PermitRootLogin prohibit-password' 'UsePAM no' 'UseDNS no' >"$dir/etc/ssh/sshd_config"
	echo 5f7c5e7c0f0b4b0e9d0a5c1f2b3d4e5f >"$dir/etc/machine-id"
	install -m 600 "$lab"/keys/ssh_host_*_key "$dir/etc/ssh/"
	install -m 600 "$lab/keys/authorized_keys" "$dir/root/.ssh/"
	chmod 700 "$dir/root" "$dir/root/.ssh"
	cat >"$dir/init" <<-'INIT'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		PATH=/bin
		mount -t proc proc /proc
		mount -t sysfs sys /sys
		mount -t devtmpfs dev /dev
		mkdir /dev/pts /dev/shm
		mount -t devpts devpts /dev/pts
		for d in /dev/shm /run /tmp; do mount -t tmpfs tmpfs "$d"; done
		for m in /m/*; do insmod "$m"; done
		hostname shotglass-arm64
		ip link set lo up
		ip link set eth0 up
		ip addr add 10.0.2.15/24 dev eth0
		ip route add default via 10.0.2.2
		mkdir /run/sshd
		while :; do /usr/sbin/sshd -D; sleep 1; done
	INIT
	chmod 755 "$dir/init"
	(cd "$dir" && find . | cpio -o -H newc -R 0:0 --quiet) >initrd.img
	rm -rf "$root" "$dir" modules
}

# copy_libraries ROOT FILE TO copies what FILE is linked with, and what that is.
copy_libraries() {
	local name file
	for name in $(readelf -d "$2" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
		[ ! -e "$3/$name" ] || continue
		file=$(find "$1/lib" "$1/usr/lib" -name "$name" -path '*aarch64-linux-gnu/*' | head -n 1)
		cp -L "$file" "$3/$name"
		copy_libraries "$1" "$3/$name" "$3"
	done
}

[ -d "$lab/guest" ] || die 'the lab is not built' e2e/lab/setup.sh
lab=$(cd "$lab" && pwd)
if [ "$(id -u)" != 0 ]; then
	die 'building guests needs root' "sudo SHOTGLASS_LAB_CACHE='${lab%/lab}' e2e/lab/guests.sh"
fi
stamp=$(cat setup.sh guests.sh | sha256sum | cut -d ' ' -f 1)
exec 9>"$lab/.lock-guests"
flock -n 9 || { say 'another setup is running, waiting for it' && flock 9; }

install_debs
part guest-arm64 &
part sign-file
part guest-13
part modules-13
wait $!
[ -z "${SUDO_UID-}" ] || chown -R "$SUDO_UID:${SUDO_GID-$SUDO_UID}" "$lab"
say "guests: ready in $SECONDS s"

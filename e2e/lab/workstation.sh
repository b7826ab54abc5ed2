#!/bin/bash
# Builds the guest in which the first boot of an analysis instance is tested, into the cache beside what setup.sh builds, which has to be there: Debian 12 on a
# disk with a GPT, with udev, Debian's own initramfs, and what Amazon Linux 2023 has and the first boot's script uses: the AWS CLI and Python's venv. See README.md.
set -euo pipefail
umask 022
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
cd "$(dirname "${BASH_SOURCE[0]}")"

# The functions of setup.sh, without what it does at its end.
# shellcheck source=/dev/null
source <(sed '/^mkdir -p "\$lab"/,$d; s/^readonly //' setup.sh)
debs=(mmdebstrap debian-archive-keyring e2fsprogs fdisk dosfstools)

# build_guest-workstation makes disk.img: an EFI system partition that nothing boots from, and the root. Both stand in fstab by the UUIDs of their filesystems, and the
# kernel's command line stands in an entry of the Boot Loader Specification, as on Amazon Linux.
build_guest-workstation() {
	local root=$PWD/root release uuid=5f7c5e7c-0f0b-4b0e-9d0a-5c1f2b3d4e5f unit
	mmdebstrap --mode=root --variant=minbase \
		--include=linux-image-cloud-amd64,initramfs-tools,udev,openssh-server,sudo,systemd-sysv,zstd,iproute2,kmod,procps,fdisk,nftables,mdadm,lvm2,python3-venv,awscli,ca-certificates \
		--aptopt='Acquire::Languages "none"' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		"$suite" "$root"
	release=$(basename "$root"/lib/modules/*)
	echo "$release" >release
	cp "$root/boot/vmlinuz-$release" vmlinuz
	# The initramfs has the two drivers that it needs, and neither assembles arrays nor opens volume groups: Amazon Linux's does not.
	rm -f "$root"/usr/share/initramfs-tools/{hooks,scripts/*}/{mdadm,lvm2}
	sed -i 's/^MODULES=.*/MODULES=list/; s/^COMPRESS=.*/COMPRESS=zstd/' "$root/etc/initramfs-tools/initramfs.conf"
	printf '%s\n' nvme ext4 crc32c_generic >>"$root/etc/initramfs-tools/modules"
	chroot "$root" update-initramfs -c -k "$release"
	mv "$root/boot/initrd.img-$release" initrd.img
	customize_guest "$root"
	# What customize_guest left out to save time, and this guest is about.
	for unit in systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service \
		systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service systemd-remount-fs.service kmod-static-nodes.service \
		modprobe@fuse.service sys-fs-fuse-connections.mount; do
		rm "$root/etc/systemd/system/$unit"
	done
	mkdir "$root/etc/systemd/system/lab-net.service.d" # the driver of the network is not in the initramfs
	printf '[Service]\nExecStartPre=/sbin/modprobe virtio_net\n' >"$root/etc/systemd/system/lab-net.service.d/driver.conf"
	printf 'UUID=%s / ext4 defaults,noatime 1 1\nUUID=5A6B-7C8D /boot/efi vfat defaults,noatime,uid=0,gid=0,umask=0077 0 2\n' "$uuid" >"$root/etc/fstab"
	mkdir -p "$root/boot/loader/entries" "$root/boot/efi"
	printf 'title Debian\nversion %s\nlinux /boot/vmlinuz-%s\ninitrd /boot/initrd.img-%s\noptions root=UUID=%s ro quiet\n' "$release" "$release" "$release" "$uuid" >"$root/boot/loader/entries/lab.conf"

	truncate -s 1700M disk.img
	sfdisk -q disk.img <<-TABLE
		label: gpt
		1 : start=18432, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name="Linux"
		15 : start=2048, size=16384, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="EFI System Partition"
	TABLE
	truncate -s 8M esp.img
	mkfs.vfat -F 16 -s 1 -i 5A6B7C8D esp.img >/dev/null
	dd if=esp.img of=disk.img bs=1M seek=1 conv=notrunc status=none
	rm esp.img
	mke2fs -q -t ext4 -m 0 -L / -U "$uuid" -E offset=$((18432 * 512)) -d "$root" disk.img 1690M
	rm -rf "$root"
}

[ -d "$lab/guest" ] || die 'the lab is not built' e2e/lab/setup.sh
lab=$(cd "$lab" && pwd)
if [ "$(id -u)" != 0 ]; then
	die 'building guests needs root' "sudo SHOTGLASS_LAB_CACHE='${lab%/lab}' e2e/lab/workstation.sh"
fi
stamp=$(cat setup.sh workstation.sh | sha256sum | cut -d ' ' -f 1)
exec 9>"$lab/.lock-workstation"
flock -n 9 || { say 'another setup is running, waiting for it' && flock 9; }

install_debs
part guest-workstation
[ -z "${SUDO_UID-}" ] || chown -R "$SUDO_UID:${SUDO_GID-$SUDO_UID}" "$lab/guest-workstation"
say "workstation: ready in $SECONDS s"

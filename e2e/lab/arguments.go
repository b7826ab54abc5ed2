package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A bank is where some of a guest's memory lies, in bytes.
type bank struct{ start, size int64 }

// armBase is where QEMU's machine virt has its memory.
const armBase = 1 << 30

func (l *Lab) banks(o Options) []bank {
	size, low := int64(o.MemoryMiB)<<20, int64(o.LowMiB)<<20
	switch {
	case l.arm64:
		return []bank{{armBase, size}}
	case low > 0 && low < size:
		return []bank{{0, low}, {4 << 30, size - low}}
	}
	return []bank{{0, size}}
}

// qemu is the program.
func (l *Lab) qemu() string {
	if l.arm64 {
		return "qemu-system-aarch64"
	}
	return "qemu-system-x86_64"
}

// arguments is QEMU's command line. QEMU chooses the loopback port itself, which
// Boot then asks for: no other process can take it in between.
func (l *Lab) arguments(o Options, console string) []string {
	restrict := "on"
	if o.Loopback {
		restrict = "off"
	}
	args := append(l.machine(o),
		"-no-user-config", "-nodefaults", "-nographic",
		"-accel", "tcg,thread=multi",
		"-smp", fmt.Sprint(o.CPUs),
		"-m", fmt.Sprint(o.MemoryMiB),
		"-kernel", filepath.Join(l.guest, "vmlinuz"),
		"-initrd", filepath.Join(l.guest, "initrd.img"),
		"-netdev", "user,id="+netdev+",restrict="+restrict+",hostfwd=tcp:127.0.0.1:0-:22",
		"-device", "virtio-net-pci,romfile=,netdev="+netdev,
		"-device", "virtio-rng-pci",
		"-chardev", "file,id=console,path="+commas(console),
		"-serial", "chardev:console",
		"-chardev", "socket,id=qmp,fd=3",
		"-mon", "chardev=qmp,mode=control")
	// Mitigations cost an emulated processor much and protect nothing here.
	kernel := "net.ifnames=0 mitigations=off audit=0 loglevel=5 systemd.show_status=0 "
	if l.arm64 {
		kernel += "console=ttyAMA0 "
	} else {
		kernel += "console=ttyS0 "
	}
	for i, disk := range o.Others {
		args = append(args, nvme(fmt.Sprintf("other%d", i), disk)...)
	}
	if o.Disk != "" { // KernelArgs say which is the root
		args = append(args, nvme("own", o.Disk)...)
	}
	disk := filepath.Join(l.guest, "root.img")
	if _, err := os.Stat(disk); err == nil { // else the initramfs is all there is
		args = append(args, "-drive", "if=virtio,format=raw,snapshot=on,file="+commas(disk))
		kernel += "root=/dev/vda "
	}
	return append(args, "-append", strings.TrimSpace(kernel+o.KernelArgs))
}

// machine is what QEMU emulates.
func (l *Lab) machine(o Options) []string {
	if l.arm64 {
		return []string{"-machine", "virt", "-cpu", "cortex-a57"}
	}
	// Without what QEMU emulates at a loss: wide vectors, by a call for each instruction, and strings that are
	// copied byte by byte. Memory leaves through ssh for half the work.
	cpu, board := "max,-avx,-avx2,-f16c,-fma,-vaes,-vpclmulqdq,-erms,-fsrm", "pc"
	if o.FiveLevel {
		cpu += ",+la57"
	} else {
		cpu += ",-la57"
	}
	if o.LowMiB > 0 {
		board += fmt.Sprintf(",max-ram-below-4g=%dM", o.LowMiB)
	}
	return []string{"-machine", board, "-cpu", cpu}
}

// nvme is a disk as EC2's instances of Nitro have them. Its id is its serial number.
func nvme(id, file string) []string {
	return []string{"-drive", "if=none,id=" + id + ",format=raw,file=" + commas(file), "-device", "nvme,drive=" + id + ",serial=" + id}
}

// commas escapes a value of one of QEMU's lists.
func commas(s string) string { return strings.ReplaceAll(s, ",", ",,") }

package freeze

import (
	"fmt"
	"path"
	"strings"
)

// What a process can have open, as Parse names it.
const (
	holdsWatchdog   = "watchdog"
	holdsConnection = "carries our connection"
)

// reasons says of each process why it must go on, or nothing; used are the exemptions
// that applied.
func (v *View) reasons(exempt []Exemption) (why []string, used []bool) {
	why, used = make([]string, len(v.Processes)), make([]bool, len(exempt))
	ours := v.ancestors()
	for i, p := range v.Processes {
		if p.Kernel || p.Zombie {
			continue
		}
		for k, e := range exempt {
			if e.matches(p) {
				used[k] = true
				why[i] = "exempted by " + e.String()
			}
		}
		switch {
		case p.PID == 1:
			why[i] = "PID 1"
		case ours[p.PID]:
			why[i] = "our own session"
		case why[i] != "":
		case v.held(p.PID) != "":
			why[i] = v.held(p.PID)
		case wellKnown(p.Name) != "":
			why[i] = wellKnown(p.Name)
		default:
			for c := p.Cgroup; len(c) > 1; c = path.Dir(c) {
				if w := units[strings.TrimSuffix(path.Base(c), ".service")]; w != "" {
					why[i] = w
				}
				if w := v.Watched[c]; w != "" {
					why[i] = fmt.Sprintf("systemd ends it when it falls silent for %s", w)
				}
			}
		}
	}
	return why, used
}

// ancestors are the process that looked, and those that it comes from: sudo, the SSH server.
func (v *View) ancestors() map[int]bool {
	parent := map[int]int{}
	for _, p := range v.Processes {
		parent[p.PID] = p.Parent
	}
	out := map[int]bool{}
	for p := v.Self; p > 0 && !out[p]; p = parent[p] {
		out[p] = true
	}
	return out
}

// held is why what a process has open keeps it running.
func (v *View) held(pid int) string {
	for _, h := range v.Holds[pid] {
		if !strings.HasPrefix(h, holdsWatchdog) {
			return h
		}
	}
	return ""
}

// Names are those of the kernel, cut to 15 bytes.
const nameSize = 15

// Processes that must go on, by name, and why. A star ends a name that others continue.
var groups = []struct{ why, names string }{
	{"the SSH server", "sshd sshd-session sshd-auth dropbear tinysshd teleport"},
	{"logins and sudo wait until it has logged them", `systemd-journal rsyslogd syslog-ng syslogd busybox-syslogd metalog
		auditd audispd sedispatch laurel go-audit sudo_logsrvd`},
	{"logins and sudo ask it", `dbus-daemon dbus-broker dbus-broker-lau systemd-logind elogind elogind-daemon systemd-userdbd
		systemd-userwor systemd-homed systemd-machine sssd sssd_* nscd unscd nslcd winbindd oddjobd adclient vasd lsassd lwsmd himmelblaud*
		authd google_authori*`},
	{"the network needs it", `dhclient dhcpcd udhcpc systemd-network systemd-resolve NetworkManager nm-dispatcher connmand wickedd* iwd
		wpa_supplicant hostapd teamd pppd ovs-vswitchd ovsdb-server dnsmasq unbound named pdns_recursor kresd* stubby
		dnscrypt-proxy coredns keepalived bird bird6 zebra bgpd ospfd ospf6d isisd
		bfdd staticd watchfrr gobgpd firewalld netplan`},
	{"a VPN or tunnel, which may carry our connection", `openvpn wireguard-go boringtun* tailscaled zerotier-one nebula tincd vpnc openconnect charon
		charon-systemd starter pluto racoon iked xl2tpd netbird cloudflared ngrok frpc warp-svc`},
	{"the agent of its cloud or hypervisor", `amazon-ssm-agen* ssm-agent-worke* ssm-session-wor* ssm-document-wo* waagent google_guest_ag*
		google_network_* google_osconfig* GuestAgent qemu-ga vmtoolsd VGAuthService hv_kvp_daemon hv_vss_daemon hv_fcopy_daemon xe-daemon`},
	{"its cluster would take the host for dead", `corosync pacemakerd pacemaker-* sbd dlm_controld ctdbd heartbeat`},
	{"the host would be reset, or cut off by its cluster", "ocssd.bin cssdagent cssdmonitor ohasd.bin had hashadow cmcld mmfsd sanlock bmc-watchdog"},
	{"disks or file systems wait for it", `multipathd iscsid iscsiuio mdmon dmeventd nbd-client qemu-nbd rbd-nbd tcmu-runner fcoemon automount rpc.gssd gssproxy
		rpc.idmapd rpc.statd rpcbind nfsidmap stunnel stunnel4 stunnel5 efs-proxy amazon-efs-moun zed systemd-udevd udevd eudev fapolicyd clamonacc`},
}

// units are services whose processes bear an interpreter's name.
var units = map[string]string{
	"walinuxagent": "the agent of its cloud or hypervisor", "waagent": "the agent of its cloud or hypervisor",
	"firewalld": "the network needs it", "networkd-dispatcher": "the network needs it",
	"pdns-recursor":             "the network needs it",
	"amazon-efs-mount-watchdog": "disks or file systems wait for it",
}

var known, knownStarts = func() (map[string]string, map[string]string) {
	whole, starts := map[string]string{}, map[string]string{}
	for _, g := range groups {
		for _, n := range strings.Fields(g.names) {
			if start, ok := strings.CutSuffix(n, "*"); ok {
				starts[start] = g.why
			} else {
				whole[n] = g.why
			}
		}
	}
	return whole, starts
}()

// wellKnown is why a process of this name goes on, or nothing.
func wellKnown(name string) string {
	if w := known[name]; w != "" {
		return w
	}
	for n := len(name); n > 0; n-- {
		if w := knownStarts[name[:n]]; w != "" {
			return w
		}
	}
	return ""
}

// An Exemption keeps processes running that the user names: a cgroup with all below it ("/system.slice/x.service"), a
// unit ("postgresql@*.service") or a process ("postgres").
type Exemption struct{ text string }

// ParseExemption reads one.
func ParseExemption(s string) (Exemption, error) {
	if _, err := path.Match(s, ""); err != nil || strings.TrimSpace(s) == "" || strings.ContainsAny(s, "\n\x00") {
		return Exemption{}, fmt.Errorf("%q names no cgroup (/...), unit (NAME.service) or process", s)
	}
	if strings.HasPrefix(s, "/") {
		s = path.Clean(s)
	}
	if s == "/" {
		return Exemption{}, fmt.Errorf("%q would exempt everything", s)
	}
	return Exemption{s}, nil
}

func (e Exemption) String() string { return e.text }

// unitSuffixes are those of units that have a cgroup.
var unitSuffixes = []string{".service", ".scope", ".slice", ".socket", ".mount", ".swap"}

func (e Exemption) matches(p Process) bool {
	if strings.HasPrefix(e.text, "/") {
		return p.Cgroup == e.text || strings.HasPrefix(p.Cgroup, e.text+"/")
	}
	for _, suffix := range unitSuffixes {
		if !strings.HasSuffix(e.text, suffix) {
			continue
		}
		for _, name := range strings.Split(p.Cgroup, "/") {
			if ok, _ := path.Match(e.text, name); ok || name == e.text {
				return true
			}
		}
		return false
	}
	ok, _ := path.Match(e.text, p.Name)
	return ok || p.Name == e.text[:min(len(e.text), nameSize)]
}

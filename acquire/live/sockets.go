package live

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Socket is a row of a file of /proc/net.
type Socket struct {
	Proto  string         `json:"proto"` // the file: tcp, tcp6, udp, ..., unix
	Local  netip.AddrPort `json:"local,omitzero"`
	Remote netip.AddrPort `json:"remote,omitzero"`
	State  string         `json:"state,omitempty"` // of TCP: LISTEN, ESTABLISHED, ...; of a Unix socket: LISTEN or empty
	UID    int            `json:"uid"`
	Inode  uint64         `json:"inode"`
	Path   string         `json:"path,omitempty"` // of a Unix socket
}

// tcpStates are those of include/net/tcp_states.h, from 1.
var tcpStates = []string{"ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV"}

// Sockets reads the item sockets: lines of grep -H. Rows that cannot be read are left out; skipped counts
// those.
func Sockets(data []byte) (out []Socket, skipped int) {
	for line := range strings.Lines(string(data)) {
		name, row, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		proto, ours := strings.CutPrefix(name, "/proc/net/")
		if !ok || !ours {
			skipped++
			continue
		}
		f := strings.Fields(row)
		switch proto {
		case "unix":
			if len(f) > 0 && f[0] == "Num" {
				continue
			}
			s, ok := unixSocket(f)
			if !ok {
				skipped++
				continue
			}
			out = append(out, s)
		case "tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp":
			if len(f) > 0 && f[0] == "sl" {
				continue
			}
			s, ok := inetSocket(proto, f)
			if !ok {
				skipped++
				continue
			}
			out = append(out, s)
		}
	}
	return out, skipped
}

// acceptcon is __SO_ACCEPTCON of include/uapi/linux/net.h.
const acceptcon = 1 << 16

func unixSocket(f []string) (Socket, bool) {
	if len(f) < 7 {
		return Socket{}, false
	}
	inode, err := strconv.ParseUint(f[6], 10, 64)
	s := Socket{Proto: "unix", UID: -1, Inode: inode, Path: strings.Join(f[7:], " ")}
	if flags, err := strconv.ParseUint(f[3], 16, 32); err == nil && flags&acceptcon != 0 {
		s.State = "LISTEN"
	}
	return s, err == nil
}

func inetSocket(proto string, f []string) (s Socket, ok bool) {
	if len(f) < 10 {
		return s, false
	}
	s.Proto = proto
	var ok1, ok2 bool
	s.Local, ok1 = address(f[1])
	s.Remote, ok2 = address(f[2])
	state, err := strconv.ParseUint(f[3], 16, 8)
	uid, err2 := strconv.Atoi(f[7])
	inode, err3 := strconv.ParseUint(f[9], 10, 64)
	if !ok1 || !ok2 || err != nil || err2 != nil || err3 != nil {
		return s, false
	}
	s.UID, s.Inode = uid, inode
	if strings.HasPrefix(proto, "tcp") && state >= 1 && int(state) <= len(tcpStates) {
		s.State = tcpStates[state-1]
	}
	return s, true
}

// address reads 0100007F:1F90: words of 32 bits in the host's order, which is taken for
// little-endian.
func address(text string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(text, ":")
	b, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || err2 != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a, uint16(n)), true
}

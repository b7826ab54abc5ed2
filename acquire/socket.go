package acquire

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
)

// A socket is one row of /proc/net/tcp
// (https://docs.kernel.org/networking/proc_net_tcp.html).
type socket struct {
	local, remote         netip.Addr
	localPort, remotePort int
	state                 int
	uid                   int
	inode                 uint64 // 0 while no process has accepted it
}

// States of a socket, from include/net/tcp_states.h.
const (
	tcpEstablished = 0x01
	tcpListen      = 0x0a
)

// parseSocket reads one row; ok is false for the header and for damaged rows.
func parseSocket(line string) (s socket, ok bool) {
	f := strings.Fields(line)
	if len(f) < 10 || !strings.HasSuffix(f[0], ":") {
		return s, false
	}
	var err1, err2, err3, err4, err5 error
	s.local, s.localPort, err1 = hexAddr(f[1])
	s.remote, s.remotePort, err2 = hexAddr(f[2])
	st, err3 := strconv.ParseUint(f[3], 16, 8)
	s.state = int(st)
	s.uid, err4 = strconv.Atoi(f[7])
	s.inode, err5 = strconv.ParseUint(f[9], 10, 64)
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			return socket{}, false
		}
	}
	return s, true
}

// hexAddr reads "0100007F:1F90": the address in 32-bit words of the host's byte order
// (little-endian on all that LiME runs on), the port in network order.
func hexAddr(s string) (netip.Addr, int, error) {
	a, p, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(a)
	if err != nil || (len(b) != 4 && len(b) != 16) {
		return netip.Addr{}, 0, strconv.ErrSyntax
	}
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	port, err := strconv.ParseUint(p, 16, 16)
	addr, _ := netip.AddrFromSlice(b)
	return addr, int(port), err
}

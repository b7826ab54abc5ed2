package main

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/transport"
)

// A hostSpec is HOST as the user wrote it: [user@]host[:port].
type hostSpec struct {
	User string
	Host string // a name, an address, an alias of ssh_config
	Port int    // 0: not given
	Name string // what to call it, in place of Host; only of EC2 instances, whose address Host is
}

// parseHost takes a HOST apart. It refuses what OpenSSH refuses, since user and host
// can end up in a ProxyCommand, which a shell reads.
func parseHost(s string) (hostSpec, error) {
	var h hostSpec
	rest := s
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		h.User, rest = s[:i], s[i+1:]
		if err := checkUser(h.User); err != nil {
			return h, err
		}
	}
	port := ""
	switch {
	case strings.HasPrefix(rest, "["):
		host, after, ok := strings.Cut(rest[1:], "]")
		if !ok {
			return h, usagef("host %q: the bracket is not closed", s)
		}
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() {
			return h, usagef("host %q: %q is not an IPv6 address", s, host)
		}
		h.Host = host
		if after != "" {
			if after[0] != ':' || after == ":" {
				return h, usagef("host %q: want [ADDRESS]:PORT", s)
			}
			port = after[1:]
		}
	case strings.Count(rest, ":") > 1:
		return h, usagef("host %q has more than one colon", s).fix("write IPv6 addresses in brackets: [%s] or [%s]:22", rest, rest)
	default:
		var ok bool
		if h.Host, port, ok = strings.Cut(rest, ":"); ok && port == "" {
			return h, usagef("host %q: the port is missing", s)
		}
	}
	if port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || checkPort(n) != nil || strconv.Itoa(n) != port {
			return h, usagef("host %q: port %q is not a number from 1 to 65535", s, port)
		}
		h.Port = n
	}
	return h, checkHost(s, h.Host)
}

func checkHost(spec, host string) error {
	if err := hostsfile.ValidHost(host); err != nil {
		return usagef("host %q: %v", spec, err)
	}
	return nil
}

func checkUser(user string) error {
	if err := hostsfile.ValidUser(user); err != nil {
		return usagef("%v", err)
	}
	return nil
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func joinHostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func checkPort(n int) error {
	if n < 1 || n > 65535 {
		return usagef("port %d is not from 1 to 65535", n)
	}
	return nil
}

// pins are the host keys that the user pinned: for one host, or, under "", for all
// targets.
type pins map[string][]string

func parsePins(list []string) (pins, error) {
	p := pins{}
	for _, s := range list {
		host, print := "", s
		if i := strings.Index(s, "="); i >= 0 && !strings.HasPrefix(s, "SHA256:") {
			host, print = s[:i], s[i+1:]
		}
		b64, ok := strings.CutPrefix(print, "SHA256:")
		if !ok || len(strings.TrimRight(b64, "=")) != 43 { // 32 bytes in base64 without padding
			return nil, usagef("host key %q is not a SHA256 fingerprint", s).fix("a fingerprint looks like SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU; ssh-keygen -lf FILE prints it")
		}
		p[host] = append(p[host], "SHA256:"+strings.TrimRight(b64, "="))
	}
	return p, nil
}

// policy returns the host key policy of a target, or of a jump host, for which pins
// without a host do not count: they are the target's.
func (p pins) policy(host string, jump bool, knownHosts []string, insecure bool) transport.HostKeyPolicy {
	h := transport.HostKeyPolicy{KnownHosts: knownHosts, InsecureIgnore: insecure}
	h.Fingerprints = append(h.Fingerprints, p[host]...)
	if len(h.Fingerprints) == 0 && !jump {
		h.Fingerprints = append(h.Fingerprints, p[""]...)
	}
	return h
}

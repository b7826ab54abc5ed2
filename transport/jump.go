package transport

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// maxJumps bounds the hosts before the target.
const maxJumps = 8

// ParseJumps reads a chain of jump hosts as ssh -J takes it: comma-separated
// [user@]host[:port] or ssh://[user@]host[:port], IPv6 addresses in brackets.
// "none" is an empty chain.
func ParseJumps(spec string) ([]Target, error) {
	if spec == "none" {
		return nil, nil
	}
	var jumps []Target
	for one := range strings.SplitSeq(spec, ",") {
		t, err := parseJump(one)
		if err != nil {
			return nil, fmt.Errorf("jump host %q: %w", one, err)
		}
		jumps = append(jumps, t)
	}
	if len(jumps) > maxJumps {
		return nil, fmt.Errorf("%d jump hosts are too many, at most %d", len(jumps), maxJumps)
	}
	return jumps, nil
}

func parseJump(s string) (Target, error) {
	var t Target
	if strings.HasPrefix(s, "ssh://") {
		u, err := url.Parse(s)
		if err != nil {
			return t, err
		}
		if u.User != nil {
			if _, ok := u.User.Password(); ok {
				return t, errors.New("a password does not belong here")
			}
			t.User = u.User.Username()
		}
		if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return t, errors.New("want ssh://[user@]host[:port]")
		}
		s = u.Host
	} else if i := strings.LastIndexByte(s, '@'); i >= 0 {
		t.User, s = s[:i], s[i+1:]
		if t.User == "" {
			return t, errors.New("empty user name")
		}
	}
	host, port := s, ""
	if rest, ok := strings.CutPrefix(s, "["); ok {
		if host, port, ok = strings.Cut(rest, "]"); !ok {
			return t, errors.New("missing ]")
		}
		if port != "" {
			if port, ok = strings.CutPrefix(port, ":"); !ok || port == "" {
				return t, errors.New("want a colon and a port after ]")
			}
		}
	} else if strings.Count(s, ":") == 1 {
		host, port, _ = strings.Cut(s, ":")
		if port == "" {
			return t, errors.New("empty port")
		}
	}
	if host == "" || strings.ContainsAny(host, " \t\r\n\x00@/[]") || strings.HasPrefix(host, "-") {
		return t, errors.New("no valid host name")
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return t, fmt.Errorf("port %q is no number from 1 to 65535", port)
		}
		t.Port = int(n)
	}
	t.Name = host
	return t, nil
}

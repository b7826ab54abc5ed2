package hosts

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// check looks at what keys mean together.
func (d *decoder) check(f *File) {
	d.checkRoute("defaults", f.Defaults)
	for i, h := range f.Hosts {
		d.checkRoute(fmt.Sprintf("hosts[%d]", i), h.Defaults)
	}
	if v := f.Repository.GPGVerify; v != nil && !*v && len(f.Repository.Key) > 0 {
		d.failKey("repository.gpg_verify", "repository.key is there to check signatures, and gpg_verify says not to")
	}
	d.checkDistinct(f)
	d.checkEC2(f)
	d.checkFilenames(f)
	d.checkAWS(f.AWS)
	d.checkContainment(f)
}

// checkRoute: there is one way to a host.
func (d *decoder) checkRoute(path string, h Defaults) {
	var ways []string
	for _, key := range []string{"jump_host", "jumps", "proxy_command"} {
		if at, ok := d.places[path+"."+key]; ok {
			if ways = append(ways, key); len(ways) > 1 {
				d.failAt(at, "%s: %s and %s exclude each other", path, ways[0], key)
			}
		}
	}
}

// Names returns what each host is called: name, else addr, with the port where several
// hosts share an address. Hosts of ec2 without a name have none: their instances do.
func (f *File) Names() []string {
	count := map[string]int{}
	for _, h := range f.Hosts {
		if h.Name == "" {
			count[h.Addr]++
		}
	}
	out := make([]string, len(f.Hosts))
	for i, h := range f.Hosts {
		port := h.Over(f).Port
		switch _, err := netip.ParseAddr(h.Addr); {
		case h.Name != "":
			out[i] = h.Name
		case count[h.Addr] > 1 && port != 0 && err == nil:
			out[i] = net.JoinHostPort(h.Addr, strconv.Itoa(port))
		default:
			out[i] = h.Addr
		}
	}
	return out
}

// checkDistinct: a name stands for one host, as everything is told by name, and no host
// is there twice.
func (d *decoder) checkDistinct(f *File) {
	byName, byPlace := map[string]int{}, map[string]int{}
	names := f.Names()
	for i, h := range f.Hosts {
		if h.Addr == "" {
			continue
		}
		path := fmt.Sprintf("hosts[%d]", i)
		key := path + ".addr"
		if h.Name != "" {
			key = path + ".name"
		}
		m := h.Over(f)
		// Private networks behind different jump hosts use the same addresses.
		place := fmt.Sprintf("%s:%d via %q", strings.ToLower(h.Addr), m.Port, m.Way())
		name := strings.ToLower(names[i])
		if first, dup := byName[name]; dup {
			d.failKey(key, "host %q is there twice, first as hosts[%d] in line %d; to capture two machines under one address, give each a name",
				names[i], first, d.places[fmt.Sprintf("hosts[%d]", first)].line)
		} else if first, dup := byPlace[place]; dup {
			d.failKey(path+".addr", "host %q is there twice, first as hosts[%d] in line %d", h.Addr, first, d.places[fmt.Sprintf("hosts[%d]", first)].line)
		}
		if _, have := byName[name]; !have {
			byName[name] = i
		}
		if _, have := byPlace[place]; !have {
			byPlace[place] = i
		}
	}
}

// Way tells routes apart: two hosts under one address are two if it differs. It is empty for the direct one.
func (d Defaults) Way() string {
	if d.ProxyCommand != "" {
		return d.ProxyCommand
	}
	var hops []string
	for _, j := range d.Route() {
		hops = append(hops, fmt.Sprintf("%s@%s:%d", j.Username, j.Addr, j.Port))
	}
	return strings.Join(hops, ",")
}

// checkFilenames: two images cannot have one name in one folder. Some file systems
// take upper case for lower case.
func (d *decoder) checkFilenames(f *File) {
	taken := map[string]int{}
	for i, h := range f.Hosts {
		if h.Filename == "" {
			continue
		}
		key := strings.ToLower(h.Over(f).Output + "\x00" + h.Filename)
		if first, dup := taken[key]; dup {
			d.failKey(fmt.Sprintf("hosts[%d].filename", i), "hosts[%d] in line %d writes %q too", first, d.places[fmt.Sprintf("hosts[%d]", first)].line, h.Filename)
			continue
		}
		taken[key] = i
	}
}

package inventory

import "fmt"

// Here is where this program runs, as far as it matters to which address leads to an instance.
type Here struct {
	Instance string // its id; empty: no instance, or not known
	VPC      string
}

// Address is by what an instance is reached, by one of hosts.AddressRules, and why by that. routed says that the way leads through
// another host or program. An address that the rule wants and the instance does not have is an error.
func (i *Instance) Address(rule string, here Here, routed bool) (addr, why string, err error) {
	first := func(list []string) string {
		if len(list) == 0 {
			return ""
		}
		return list[0]
	}
	private, public, six := first(i.Private), first(i.Public), first(i.IPv6)
	pick := func(addr, why string) (string, string, error) {
		if addr == "" {
			return "", "", fmt.Errorf("%s has no address by the rule %s", i.ID, rule)
		}
		return addr, why, nil
	}
	switch rule {
	case "private":
		return pick(private, "private, as asked")
	case "public":
		return pick(public, "public, as asked")
	case "ipv6":
		return pick(six, "IPv6, as asked")
	case "dns":
		if i.PublicDNS != "" {
			return pick(i.PublicDNS, "public DNS name, as asked")
		}
		return pick(i.PrivateDNS, "private DNS name, as asked")
	case "id":
		return pick(i.ID, "its id, as asked")
	}
	switch {
	case routed && private != "":
		return private, "private: the way leads through another host", nil
	case here.VPC != "" && here.VPC == i.VPC && private != "":
		return private, "private: this machine is in the same VPC", nil
	case public != "":
		return public, "public: it has one, and this machine is not in its VPC", nil
	case private != "":
		return private, "private: it has no public one", nil
	}
	return pick(six, "IPv6: it has no other")
}

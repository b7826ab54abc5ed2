package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire"
	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/ec2connect"
	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/transport"
)

// place puts the instances into the file, and returns those that are arguments.
func (s *ec2Search) place(file *hostsfile.File, byWish map[*ec2Wish][]*inventory.Instance) (args []hostSpec, err error) {
	total := 0
	for _, list := range byWish {
		total += len(list)
	}
	if limit := s.ctx.Int("ec2-limit"); total > limit {
		return nil, usagef("%d instances are selected, and the limit is %d", total, limit).fix("to take them all: --ec2-limit %d; shotglass inventory lists them", total)
	}
	s.o.ec2 = map[string]*ec2Host{}
	if s.o.key == nil {
		s.o.key = new(ec2connect.Key)
	}
	var errs []error
	replaced := map[int][]hostsfile.Host{}
	for _, w := range s.wishes {
		list := byWish[w]
		if len(list) > 1 {
			errs = append(errs, w.single(len(list)))
		}
		for _, i := range list {
			e, err := s.reach(w, i)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if who, dup := s.taken[i.ARN]; dup {
				errs = append(errs, fmt.Errorf("%s is named twice, by %s and by %s: to leave it out of one, add ,!%s there", i.ID, who, w.from, i.ID))
				continue
			}
			s.taken[i.ARN] = w.from
			if w.index < 0 {
				args = append(args, hostSpec{User: w.arg.User, Host: e.Address, Port: w.arg.Port, Name: i.ID})
				s.o.ec2[i.ID] = e
				continue
			}
			h := file.Hosts[w.index]
			h.EC2, h.Addr, h.Name = nil, e.Address, cmp.Or(h.Name, i.ID)
			if h.Containment.There {
				h.Containment.Targets = append(hostsfile.Strings{i.ARN}, h.Containment.Targets...)
			}
			s.o.ec2[h.Name] = e
			replaced[w.index] = append(replaced[w.index], h)
		}
	}
	errs = append(errs, s.crowded())
	if err := errors.Join(errs...); err != nil {
		return nil, &usageError{Msg: err.Error(), Err: err, Fix: ec2Hint(errs)}
	}
	var hosts []hostsfile.Host
	for i, h := range file.Hosts {
		if len(h.EC2) > 0 {
			hosts = append(hosts, replaced[i]...)
		} else {
			hosts = append(hosts, h)
		}
	}
	file.Hosts = hosts
	return args, nil
}

// single refuses what is of one host each, where a selector names n.
func (w *ec2Wish) single(n int) error {
	if w.index < 0 {
		return nil
	}
	for key, given := range map[string]bool{"name": w.host.Name != "", "filename": w.host.Filename != "", "containment.targets": len(w.host.Containment.Targets) > 0} {
		if given {
			return fmt.Errorf("%s: %s is of one host, and %d instances are selected", w.from, key, n)
		}
	}
	return nil
}

// distinctWays refuses an instance under an address that another host has, behind the same hosts: one machine would be captured twice.
func (o *captureOptions) distinctWays(jobs []acquire.Job) error {
	first := map[string]string{}
	for _, j := range jobs {
		way := wayTo(j.Target)
		was, dup := first[way]
		a, b := o.ec2[was], o.ec2[hostOf(j)]
		switch {
		case !dup:
			first[way] = hostOf(j)
		case a != nil && b != nil:
			return usagef("%s and %s have the same address, %s, in different networks: from here only one of them is there", a.ID, b.ID, b.Address).fix("reach them by their public addresses, ec2_address: public, or give each the jump host of its network")
		case a != nil || b != nil:
			e, other := b, was
			if a != nil {
				e, other = a, hostOf(j)
			}
			return usagef("host %q and %s have the same address, %s: one machine would be captured twice", other, e.ID, e.Address).fix("leave one of them out, or give each the jump host of its network")
		}
	}
	return nil
}

// wayTo tells machines apart as far as it can without asking ssh_config: by address and by the hosts before it. The port does not: it is one machine.
func wayTo(t transport.Target) string {
	addr := strings.ToLower(t.Name)
	if ip, err := netip.ParseAddr(addr); err == nil {
		addr = ip.Unmap().String()
	}
	way := []string{addr, t.ProxyCommand}
	if t.Tunnel != nil {
		way = append(way, t.Tunnel.Name)
	}
	for _, j := range t.Jumps {
		way = append(way, fmt.Sprintf("%s@%s:%d", j.User, strings.ToLower(j.Name), j.Port))
	}
	return strings.Join(way, "\n")
}

// reach says how an instance is reached, and as whom.
func (s *ec2Search) reach(w *ec2Wish, i *inventory.Instance) (*ec2Host, error) {
	ctx, h := s.ctx, w.host
	routed := h.Way() != "" || ctx.String("proxy-command") != "" || ctx.String("jump") != "" && ctx.String("jump") != "none"
	rule := cmp.Or(ctx.String("ec2-address"), h.EC2Address)
	way, err := s.way(w, i, rule, routed)
	if err != nil {
		return nil, err
	}
	addr, why, err := i.Address(way.addressRule(rule, i), *s.here, routed)
	if err != nil {
		return nil, err
	}
	if err := hostsfile.ValidHost(addr); err != nil {
		return nil, fmt.Errorf("%s: the address %q: %w", i.ID, addr, err)
	}
	texts := slices.Concat(ctx.StringSlice("ec2-user"), h.EC2User) // the first that fits counts
	rules, err := userRules(texts)
	if err != nil {
		return nil, err
	}
	login := i.LoginBy(rules)
	e := &ec2Host{
		ID: i.ID, ARN: i.ARN, Account: i.Account, Region: i.Region, Image: i.Image.ID, Name: i.Name, Selector: w.from,
		Address: addr, AddressWhy: why, User: login.User, UserWhy: login.Why, ec2Way: way,
		access: w.access, gather: h.EC2Gather, found: i, finder: w.finder,
	}
	return e, s.prepare(e, w)
}

// complete adds to a job what is known of its instance; user says that a login name was given.
func (e *ec2Host) complete(j *acquire.Job, engine []acquire.Setting, user bool) {
	labels := maps.Clone(j.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, map[string]string{"ec2_instance": e.ID, "ec2_account": e.Account, "ec2_region": e.Region, "ec2_image": e.Image})
	j.Labels = labels
	if j.Settings == nil {
		j.Settings = slices.Clone(engine)
	}
	j.Settings = setSetting(j.Settings, "ec2-address", e.Address, "ec2: "+e.AddressWhy)
	switch {
	case user:
		e.User, e.UserWhy = j.Target.User, "as given"
	case e.User != "":
		j.Target.User = e.User
		j.Settings = setSetting(j.Settings, "user", e.User, "ec2: "+e.UserWhy)
	}
	e.ec2Way.complete(j, e)
	j.Check = e.confirm
}

// confirm holds what a host says of itself against the instance that was selected: addresses are used again.
func (e *ec2Host) confirm(f *acquire.Facts) (warning string, err error) {
	switch {
	case !hostsfile.IsInstanceID(f.InstanceID):
		return fmt.Sprintf("nothing confirms that this is %s: its firmware tells no instance id (Xen does not). If the address is another's by now, this is the other's memory", e.ID), nil
	case f.InstanceID != e.ID:
		return "", fmt.Errorf("%s answers at %s, where %s was: the address is another instance's by now, or behind this way", f.InstanceID, e.Address, e.ID)
	}
	return "", nil
}

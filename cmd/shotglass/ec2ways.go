package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/cmd/internal/ec2connect"
	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/eice"
)

// An ec2Way is how AWS leads into an instance, if it is to.
type ec2Way struct {
	Connect    string `json:"connect,omitempty"` // empty: nothing of AWS's leads in
	ConnectWhy string `json:"connect_why,omitempty"`
	Endpoint   string `json:"connect_endpoint,omitempty"`
	// Pins are the host keys that it wrote on its console, PinsFrom which output that was.
	Pins     []string `json:"host_keys,omitempty"`
	PinsFrom string   `json:"host_keys_from,omitempty"`

	pinTypes    []string // of Pins
	zone, dns   string
	grant       *transport.Grant
	tunnel      *transport.Tunnel
	proxy       string // ProxyCommand
	fingerprint string // of the key that is pushed
	rate        int64  // that is expected of the way, bytes a second; 0: not limited
	share       int64  // of --limit-total-rate, likewise
}

// consolePins are the host keys of an instance's console.
type consolePins struct {
	keys ec2connect.HostKeys
	from string
}

// consolesAtOnce is how many consoles are read at once.
const consolesAtOnce = 8

func (s *ec2Search) connectRule(w *ec2Wish) string {
	return cmp.Or(s.ctx.String("ec2-connect"), w.host.EC2Connect, ec2connect.WayNone)
}

func (s *ec2Search) hostKeyRule(w *ec2Wish) string {
	return cmp.Or(s.ctx.String("ec2-host-keys"), w.host.EC2HostKeys)
}

// learnWays asks AWS for what the ways into the instances of wishes need: configurations, endpoints, agents, host keys.
func (s *ec2Search) learnWays(ctx context.Context, f *inventory.Finder, wishes []*ec2Wish, byWish map[*ec2Wish][]*inventory.Instance) error {
	if s.configs == nil {
		s.configs, s.keys = map[string]aws.Config{}, map[string]consolePins{}
	}
	described, consoles := &inventory.Found{}, []*inventory.Instance{}
	for _, w := range wishes {
		rule, console := s.connectRule(w), s.hostKeyRule(w) == "console"
		for _, i := range byWish[w] {
			if rule == ec2connect.WayNone && !console {
				continue
			}
			target, err := containment.ParseTarget(i.ARN)
			if err != nil {
				return err
			}
			if s.configs[i.ARN], err = f.Config(ctx, target); err != nil {
				return err
			}
			if rule != ec2connect.WayNone && rule != ec2connect.WayPush && !slices.Contains(described.Instances, i) {
				described.Instances = append(described.Instances, i)
			}
			if console && !slices.Contains(consoles, i) {
				consoles = append(consoles, i)
			}
		}
	}
	before := map[string]int{}
	for _, i := range described.Instances {
		before[i.ARN] = len(i.Unknown)
	}
	if err := f.Ways(ctx, described); err != nil {
		return err
	}
	for _, i := range described.Instances {
		if len(i.Unknown) > before[i.ARN] {
			s.warn("ways into %s: not known: %s", i.ID, strings.Join(i.Unknown, "; "))
		}
	}
	return s.readConsoles(ctx, consoles)
}

func (s *ec2Search) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(s.o.Warnings, text) {
		s.o.Warnings = append(s.o.Warnings, text)
	}
}

// readConsoles reads host keys off consoles. What has none, or may not be read, is left to known_hosts, with a warning: an unknown
// key is refused there.
func (s *ec2Search) readConsoles(ctx context.Context, list []*inventory.Instance) error {
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(consolesAtOnce)
	problems := map[string]error{}
	for _, i := range list {
		g.Go(func() error {
			keys, from, err := ec2connect.ConsoleKeys(ctx, s.configs[i.ARN], i.ID)
			mu.Lock()
			defer mu.Unlock()
			s.keys[i.ARN], problems[i.ARN] = consolePins{keys, from}, err
			return nil
		})
	}
	g.Wait() //nolint:errcheck // none is returned
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, i := range list {
		switch err := problems[i.ARN]; {
		case err != nil:
			s.warn("host keys from the console of %s: %v; known_hosts decides", i.ID, err)
		case len(s.keys[i.ARN].keys) == 0:
			s.warn("%s has no host keys in its console output, where cloud-init writes them at the first start alone; known_hosts decides", i.ID)
		}
	}
	return nil
}

// way chooses the way into an instance.
func (s *ec2Search) way(w *ec2Wish, i *inventory.Instance, address string, routed bool) (ec2Way, error) {
	way, why, err := ec2connect.Choose(s.connectRule(w), i, ec2connect.Place{Here: *s.here, Address: address, Routed: routed, NoSSM: s.noSSM(w)})
	if err != nil || way == ec2connect.WayNone {
		way, why = "", ""
	}
	pins := s.keys[i.ARN]
	e := ec2Way{Connect: way, ConnectWhy: why, zone: i.Zone, dns: i.Ways.EndpointDNS, Pins: pins.keys.Fingerprints(), PinsFrom: pins.from, pinTypes: slices.Sorted(maps.Keys(pins.keys))}
	if way == ec2connect.WayEndpoint {
		e.Endpoint = i.Ways.Endpoint
	}
	return e, err
}

// noSSM says why the AWS CLI would not open a session here: it is missing, or knows nothing of a role that we assume.
func (s *ec2Search) noSSM(w *ec2Wish) error {
	if w.access.Role != "" {
		return &hinted{errors.New("the AWS CLI opens the session, and does not assume --aws-role"), "make a profile that assumes the role, and name it with --aws-profile"}
	}
	if err := ec2connect.SSMInstalled(); err != nil {
		return &hinted{err, "install the AWS CLI and its session-manager-plugin, or choose another way"}
	}
	return nil
}

// addressRule is the rule for the address, where the way leaves one choice.
func (e ec2Way) addressRule(rule string, i *inventory.Instance) string {
	switch {
	case e.Connect == ec2connect.WaySSM:
		return "id"
	case e.Connect != ec2connect.WayEndpoint || rule == "ipv6":
		return rule
	case len(i.Private) == 0:
		return "ipv6"
	}
	return "private"
}

// prepare makes what transport needs for the way.
func (s *ec2Search) prepare(e *ec2Host, w *ec2Wish) (err error) {
	if e.Connect == "" {
		return nil
	}
	cfg := s.configs[e.ARN]
	name := cmp.Or(w.host.Name, e.ID)
	e.grant = s.o.key.Grant(cfg, name, e.ID, e.zone)
	if e.fingerprint, err = s.o.key.Fingerprint(); err != nil {
		return err
	}
	switch e.Connect {
	case ec2connect.WayEndpoint:
		e.rate, _ = acquire.ParseRate(s.ctx.String("ec2-tunnel-rate")) // checked with the flags
		e.tunnel, err = ec2connect.Tunnel(cfg, e.Endpoint, e.dns, e.Address)
	case ec2connect.WaySSM:
		e.rate = ec2connect.SSMRate
		e.proxy = ec2connect.SSM{Instance: e.ID, Region: e.Region, Profile: w.access.Profile, Endpoint: w.access.Endpoint}.ProxyCommand()
	}
	return err
}

// crowded refuses more instances than an endpoint carries connections: the plan has one to each.
func (s *ec2Search) crowded() error {
	count := map[string]int{}
	var errs []error
	for _, e := range s.o.ec2 {
		if e.Endpoint == "" {
			continue
		}
		if count[e.Endpoint]++; count[e.Endpoint] == eice.Most+1 {
			errs = append(errs, &hinted{fmt.Errorf("more than %d instances are reached through %s, which carries so many connections at once", eice.Most, e.Endpoint),
				"capture them in groups, or from a machine in their VPC with --ec2-connect push"})
		}
	}
	return errors.Join(errs...)
}

// complete adds the way to a job.
func (w ec2Way) complete(j *acquire.Job, e *ec2Host) {
	set := func(name, value, origin string) { j.Settings = setSetting(j.Settings, name, value, origin) }
	if len(w.Pins) > 0 && len(j.Target.HostKey.Fingerprints) == 0 {
		j.Target.HostKey.Fingerprints, j.Target.HostKey.Trust = w.Pins, w.PinsFrom+" of "+e.ID
		j.Target.HostKey.Types, j.Target.HostKey.HoldKnownHosts = w.pinTypes, true // root on the instance can write on its console
		set("ec2-host-keys", strings.Join(w.Pins, "\n"), "ec2: "+w.PinsFrom)
	}
	if w.Connect == "" {
		return
	}
	j.Target.Auth.Grant = w.grant
	set("ec2-connect", w.Connect, "ec2: "+w.ConnectWhy)
	set("ec2-connect-key", w.fingerprint, "made for this run, in memory alone")
	if w.tunnel != nil {
		j.Target.Tunnel, j.Target.NoJumps = w.tunnel, true
	}
	if w.proxy != "" {
		j.Target.ProxyCommand = w.proxy
		set("proxy-command", w.proxy, "ec2: the way ssm")
	}
	j.CheckPlan = w.lasts
}

// print says what the way is in a plan.
func (w ec2Way) print(row func(name, format string, args ...any)) {
	if w.Connect != "" {
		row("way in", "%s: %s", w.Connect, w.ConnectWhy)
		row("", "with the key %s, made for this run", w.fingerprint)
	}
	if len(w.Pins) > 0 {
		row("pinned", "%s: %s", strings.Join(w.Pins, ", "), w.PinsFrom)
	}
}

// recordPushes has the audit log say of each key that is pushed.
func (o *captureOptions) recordPushes(log *runLog) {
	if o.key == nil {
		return
	}
	o.key.Tell(func(p ec2connect.Push) {
		log.Add(audit.Entry{Event: "key-pushed", Host: p.Host, Message: p.String()})
	})
}

// forget ends the use of what was made for this run alone.
func (o *captureOptions) forget() {
	if o.key != nil {
		o.key.Forget()
	}
}

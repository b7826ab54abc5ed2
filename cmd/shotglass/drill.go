package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/report"
	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
)

// The kinds of obstacles that only this program knows, beside those of package acquire.
const (
	obstacleContain acquire.Obstacle = "containment"       // it could be captured, and not be contained
	obstacleLeftOut acquire.Obstacle = "instance_left_out" // an instance that a selector named, which is none to capture
	obstacleOther   acquire.Obstacle = "other"
)

// obstacles says of each kind what it is, and what to do before the night that counts.
var obstacles = map[acquire.Obstacle]struct{ title, do string }{
	acquire.ObstacleUnreachable:    {"nobody answers on the way that was taken", "let the forensic host in on the SSH port (security groups, firewalls, routes), or name another way: ProxyJump or ProxyCommand in ssh_config, another --ec2-address, --ec2-connect endpoint or ssm"},
	acquire.ObstacleHostKeyUnknown: {"nobody vouches for the host key", "collect the keys now, while the hosts are trusted: ssh-keyscan from inside the network, into the known_hosts of --known-hosts; pin them with --host-key, host_key in the hosts file; or let instances say them on their consoles: --ec2-host-keys console"},
	acquire.ObstacleHostKeyOther:   {"the host key is not the one on record", "find out why before you trust it: a new machine under an old address, or somebody in between; then correct known_hosts"},
	acquire.ObstacleLogin:          {"no credential is accepted", "put the responders' key into authorized_keys, or name the login with --user and a key with --key; --ec2-connect push needs no key of yours"},
	acquire.ObstacleGrant:          {"EC2 Instance Connect granted no key", "give the caller what docs/ec2-connect-policy.json lists; what AWS throttles or cannot answer passes: fewer hosts at once with --parallel"},
	acquire.ObstacleSilent:         {"it lets in, and answers no command in time", "look at its load and at its disks; a login shell that waits for input does that, too"},
	acquire.ObstacleRoot:           {"the login cannot become root", "let sudo run /bin/sh for that login, or give the password: --ask-sudo-password, --sudo-password-file"},
	acquire.ObstacleFacts:          {"what the host says of itself cannot be used", "see what it says: shotglass plan with that host alone"},
	acquire.ObstacleSource:         {"no module fits or may be loaded, and /proc/kcore cannot be read", "build LiME for its kernel: shotglass modules build; sign it where lockdown or Secure Boot wants that (docs/kernels.md); --avml where /proc/kcore can be read"},
	acquire.ObstacleTime:           {"the way in ends before the image would be there", "let the forensic host in directly, or say what the tunnel carries with --ec2-tunnel-rate if it is more than was assumed"},
	acquire.ObstacleFreeze:         {"what was to be frozen cannot be", "shotglass plan with that host alone says which processes; --freeze none captures without"},
	acquire.ObstacleDestination:    {"the destination takes no evidence", "make the bucket or the folder ready, and give the caller what docs/s3.md lists"},
	acquire.ObstacleRoom:           {"the destination has too little room", "another --output, or a bucket with --to"},
	obstacleContain:                {"it could be captured, and not be contained", "give the responder what is missing: docs/containment-policy.json; --contain never captures alone"},
	obstacleLeftOut:                {"it is no instance to capture", "start what must be captured, and leave the others to snapshots of their volumes"},
	obstacleOther:                  {"another reason", "see what it says: shotglass plan with that host alone"},
}

// An obstacleGroup is a "plan_obstacle" line: the hosts that one kind of obstacle keeps from being captured or contained.
type obstacleGroup struct {
	Obstacle acquire.Obstacle `json:"obstacle"`
	Title    string           `json:"title"`
	Count    int              `json:"count"`
	Do       string           `json:"do"`
	Hosts    []obstructed     `json:"hosts"`
}

// An obstructed is a host with its own reason.
type obstructed struct {
	Host string `json:"host"`
	Why  string `json:"why"`
	// Ways are the other ways in that its instance has.
	Ways string `json:"ways_in,omitempty"`
}

// A drill is what a plan says of a whole fleet.
type drill struct {
	groups []obstacleGroup // those with most hosts first
	ready  []string        // hosts that could be captured, and contained if that was asked for
	kept   int             // of these, hosts whose earlier image is kept
}

// drillOf groups the hosts of a plan. Host names and reasons come from anywhere: they are quoted by who prints them.
func drillOf(steps []*acquire.Step, o *captureOptions) *drill {
	d := &drill{}
	by := map[acquire.Obstacle]*obstacleGroup{}
	add := func(kind acquire.Obstacle, x obstructed) {
		about, known := obstacles[kind]
		if !known {
			kind, about = obstacleOther, obstacles[obstacleOther]
		}
		if by[kind] == nil {
			by[kind] = &obstacleGroup{Obstacle: kind, Title: about.title, Do: about.do}
		}
		by[kind].Hosts = append(by[kind].Hosts, x)
	}
	for _, s := range steps {
		refused := o.follow.whyNot(s.Host)
		switch {
		case s.Err != nil && s.Prior == nil:
			add(s.Obstacle, obstructed{s.Host, oneLine(s.Err.Error()), o.ec2[s.Host].otherWays()})
		case refused != "":
			add(obstacleContain, obstructed{Host: s.Host, Why: refused})
		default:
			if d.ready = append(d.ready, s.Host); s.Prior != nil {
				d.kept++
			}
		}
	}
	for _, l := range o.LeftOut {
		host := l.ID
		if l.Name != "" {
			host += fmt.Sprintf(" (%q)", l.Name)
		}
		add(obstacleLeftOut, obstructed{Host: host, Why: l.Why})
	}
	for _, g := range by {
		g.Count = len(g.Hosts)
		d.groups = append(d.groups, *g)
	}
	slices.SortFunc(d.groups, func(a, b obstacleGroup) int {
		last := func(g obstacleGroup) int {
			if g.Obstacle == obstacleLeftOut { // what nobody expects to capture
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(last(a), last(b)), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Obstacle, b.Obstacle))
	})
	return d
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// whyNot is why a host could not be contained; empty: it could, or was not to be.
func (all *followUps) whyNot(host string) string {
	if all == nil {
		return ""
	}
	var texts []string
	for _, err := range all.refused[host] {
		texts = append(texts, oneLine(err.Error()))
	}
	return strings.Join(texts, "; ")
}

// otherWays says which ways there are to an instance beside plain SSH; empty: it is none, or nobody asked.
func (e *ec2Host) otherWays() string {
	if e == nil || e.Ways == nil {
		return ""
	}
	var ways []string
	if e.Ways.SSM != "" {
		ways = append(ways, "Systems Manager ("+e.Ways.SSM+")")
	}
	if e.Ways.Endpoint != "" {
		ways = append(ways, "the endpoint "+e.Ways.Endpoint+" of EC2 Instance Connect")
	}
	if e.Ways.Key != "" {
		ways = append(ways, "the key pair "+e.Ways.Key)
	}
	if len(ways) == 0 {
		ways = append(ways, "no other way")
	}
	for _, u := range e.Unknown {
		ways = append(ways, "not known: "+u)
	}
	return strings.Join(ways, ", ")
}

// lookForWays asks EC2 and Systems Manager which ways there are to the instances that nobody got into. What cannot be read is said with the
// instance; an error is only that ctx ended.
func (o *captureOptions) lookForWays(ctx context.Context, steps []*acquire.Step) error {
	byFinder := map[*inventory.Finder][]*ec2Host{}
	for _, s := range steps {
		e := o.ec2[s.Host]
		if e == nil || e.finder == nil || s.Err == nil || !slices.Contains([]acquire.Obstacle{acquire.ObstacleUnreachable, acquire.ObstacleHostKeyUnknown, acquire.ObstacleLogin, acquire.ObstacleGrant}, s.Obstacle) {
			continue
		}
		byFinder[e.finder] = append(byFinder[e.finder], e)
	}
	for f, list := range byFinder {
		found := &inventory.Found{}
		for _, e := range list {
			found.Instances = append(found.Instances, e.found)
		}
		if err := f.Describe(ctx, found); err != nil {
			return err
		}
		for _, e := range list {
			slices.Sort(e.found.Unknown)
			e.Ways, e.Unknown = &e.found.Ways, slices.Compact(e.found.Unknown)
		}
	}
	return nil
}

// someHosts is how many hosts of a group are named; --json has all.
const someHosts = 8

// print tells what keeps which hosts from being captured, the most first.
func (d *drill) print(out io.Writer) {
	if len(d.groups) == 0 {
		return
	}
	fmt.Fprintln(out, "\nNot tonight:")
	for _, g := range d.groups {
		fmt.Fprintf(out, "%s: %s\n", plural(g.Count, "host"), g.Title)
		for n, h := range g.Hosts {
			if n == someHosts {
				fmt.Fprintf(out, "    and %d more: --json has them\n", g.Count-n)
				break
			}
			line := h.Host
			if h.Ways != "" {
				line += ": there is " + h.Ways
			}
			fmt.Fprintf(out, "    %s\n", printable(line))
		}
		fmt.Fprintf(out, "  do: %s\n", g.Do)
	}
	fmt.Fprintf(out, "%s could be captured\n", plural(len(d.ready), "host"))
}

// sheet is the drill as a page.
func (d *drill) sheet(o *captureOptions, now time.Time) report.Sheet {
	bad, left := 0, 0
	for _, g := range d.groups {
		if g.Obstacle == obstacleLeftOut {
			left += g.Count
		} else {
			bad += g.Count
		}
	}
	s := report.Sheet{
		Kicker: "Fire drill", Title: "Could they be captured?", Class: "good", Lead: "Every host could be captured now.",
		Made:  "Made " + now.UTC().Format("2006-01-02 15:04:05") + " UTC with " + toolInfo().Name + " " + toolInfo().Version + ", by connecting to each host; no memory was read.",
		Tiles: []report.Tile{{Label: "Ready", Value: fmt.Sprint(len(d.ready))}, {Label: "Not ready", Value: fmt.Sprint(bad)}, {Label: "Instances left out", Value: fmt.Sprint(left)}},
	}
	if d.kept > 0 {
		s.Tiles[0].Note = fmt.Sprintf("%d keep an earlier image", d.kept)
	}
	if bad > 0 {
		s.Class, s.Lead = "bad", fmt.Sprintf("%d of %d hosts could not be captured, or not be contained, tonight.", bad, bad+len(d.ready))
	}
	for _, p := range o.unsearched() {
		s.Notes = append(s.Notes, fmt.Sprintf("Not searched for instances: %v", p))
		if s.Class == "good" {
			s.Class, s.Lead = "warn", "Every host that was found could be captured; not all places were searched."
		}
	}
	for _, g := range d.groups {
		group := report.Group{State: fmt.Sprint(g.Count), Class: "bad", Title: g.Title, Summary: string(g.Obstacle), Text: "To do: " + g.Do + ".", Open: true}
		if g.Obstacle == obstacleLeftOut {
			group.Class, group.Open = "warn", false
		}
		for _, h := range g.Hosts {
			group.Rows = append(group.Rows, report.Row{Name: h.Host, Where: h.Ways, Text: h.Why})
		}
		s.Groups = append(s.Groups, group)
	}
	if len(d.ready) > 0 {
		group := report.Group{State: fmt.Sprint(len(d.ready)), Class: "good", Title: "could be captured"}
		for _, h := range d.ready {
			group.Rows = append(group.Rows, report.Row{Name: h})
		}
		s.Groups = append(s.Groups, group)
	}
	return s
}

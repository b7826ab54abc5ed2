package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/urfave/cli/v2"

	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
)

// An ec2Host is an instance that a selector named, as it will be captured.
type ec2Host struct {
	ID         string `json:"id"`
	ARN        string `json:"arn"`
	Account    string `json:"account"`
	Region     string `json:"region"`
	Image      string `json:"image"`
	Name       string `json:"name,omitempty"`
	Selector   string `json:"selector"`
	Address    string `json:"address"`
	AddressWhy string `json:"address_why"`
	User       string `json:"user,omitempty"` // empty: ssh_config decides
	UserWhy    string `json:"user_why"`
	ec2Way

	access awsAccess
	gather []string // of the hosts file

	// Ways are those that there are beside plain SSH; nil: nobody asked. Unknown is what could not be read of them.
	Ways    *inventory.Ways `json:"ways_in,omitempty"`
	Unknown []string        `json:"unknown,omitempty"`

	found  *inventory.Instance
	finder *inventory.Finder // that found it
}

// A leftOut is an instance that a selector named, and that cannot be captured.
type leftOut struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	Why  string `json:"why"`
}

// An ec2Wish is what stands for instances: a host of the file, an argument, or --ec2.
type ec2Wish struct {
	from      string
	selectors []hostsfile.Selector
	host      hostsfile.Host // with the defaults
	access    awsAccess
	regions   []string
	accounts  []string
	finder    *inventory.Finder // that found its instances

	index int // of the file's host; -1: none
	arg   hostSpec
}

// An ec2Search puts instances in the place of what names them.
type ec2Search struct {
	ctx    *cli.Context
	o      *captureOptions
	base   awsAccess
	here   *inventory.Here
	wishes []*ec2Wish
	taken  map[string]string // who named an instance, by its ARN

	configs map[string]aws.Config  // for ways in through AWS, by ARN
	keys    map[string]consolePins // by ARN
}

// findInstances replaces the hosts of the file and the arguments that stand for instances by the instances. AWS is asked only if there are any.
func (o *captureOptions) findInstances(c *console, ctx *cli.Context, file *hostsfile.File, args []hostSpec) ([]hostSpec, error) {
	if err := checkEC2Flags(ctx); err != nil {
		return nil, err
	}
	s := &ec2Search{ctx: ctx, o: o, taken: map[string]string{}}
	var rest []hostSpec
	for _, a := range args {
		if !hostsfile.IsInstanceID(a.Host) {
			rest = append(rest, a)
			continue
		}
		sel, err := hostsfile.ParseSelector(a.Host)
		if err != nil {
			return nil, usagef("%v", err)
		}
		s.wish(&ec2Wish{from: a.Host, selectors: []hostsfile.Selector{sel}, host: hostsfile.Host{}.Over(file), index: -1, arg: a})
	}
	if texts := ctx.StringSlice("ec2"); len(texts) > 0 {
		w := &ec2Wish{from: "--ec2 " + strings.Join(texts, " --ec2 "), host: hostsfile.Host{}.Over(file), index: -1}
		for _, text := range texts {
			sel, err := hostsfile.ParseSelector(text)
			if err != nil {
				return nil, usagef("--ec2: %v", err)
			}
			w.selectors = append(w.selectors, sel)
		}
		s.wish(w)
	}
	for i, h := range file.Merged() {
		if len(h.EC2) == 0 {
			continue
		}
		sels, err := h.Selectors()
		if err != nil {
			return nil, usagef("%v", err) // the file was checked
		}
		s.wish(&ec2Wish{from: fmt.Sprintf("%s: hosts[%d], ec2: %s", file.Path, i, strings.Join(h.EC2, ", ")), selectors: sels, host: h, index: i})
	}
	if len(s.wishes) == 0 {
		return args, nil
	}
	var err error
	if s.base, err = readAWSAccess(c, ctx); err != nil {
		return nil, err
	}
	more, err := s.fulfil(ctx.Context, file)
	if err != nil {
		return nil, err
	}
	return append(rest, more...), nil
}

func (s *ec2Search) wish(w *ec2Wish) { s.wishes = append(s.wishes, w) }

// fulfil finds the instances of all wishes, those that are looked for in the same places at once.
func (s *ec2Search) fulfil(ctx context.Context, file *hostsfile.File) ([]hostSpec, error) {
	groups := map[string][]*ec2Wish{}
	var order []string
	for _, w := range s.wishes {
		w.access = s.base.with(w.host.Containment)
		w.regions, w.accounts = w.host.EC2Region, w.host.EC2Account
		if s.ctx.IsSet("ec2-region") {
			w.regions = s.ctx.StringSlice("ec2-region")
		}
		if s.ctx.IsSet("ec2-account") {
			w.accounts = s.ctx.StringSlice("ec2-account")
		}
		key := fmt.Sprintf("%q %q %q", w.regions, w.accounts, []string{w.access.Region, w.access.Profile, w.access.Role, w.access.ExternalID})
		if _, known := groups[key]; !known {
			order = append(order, key)
		}
		groups[key] = append(groups[key], w)
	}
	byWish := map[*ec2Wish][]*inventory.Instance{}
	var errs []error
	for _, key := range order {
		if err := s.search(ctx, groups[key], byWish); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &usageError{Msg: err.Error(), Err: err, Fix: ec2Hint(errs)}
	}
	return s.place(file, byWish)
}

// ec2Hint is what helps with the errors of a search.
func ec2Hint(errs []error) string {
	for _, err := range errs {
		if h := hints(err); len(h) > 0 {
			return h[0]
		}
	}
	return "shotglass inventory lists all instances that your credentials see; docs/ec2.md explains selectors"
}

// search finds the instances of wishes that are looked for in the same places.
func (s *ec2Search) search(ctx context.Context, wishes []*ec2Wish, byWish map[*ec2Wish][]*inventory.Instance) error {
	first := wishes[0]
	accounts, err := first.access.Accounts(ctx, s.o.Engine.Case)
	if err != nil {
		return err
	}
	if s.here == nil {
		s.here = &inventory.Here{}
		if !accounts.NoIMDS {
			*s.here = inventory.Locate(ctx, accounts.Base)
		}
	}
	f := &inventory.Finder{Config: accounts.Config, Accounts: first.accounts, Regions: first.regions}
	var all []hostsfile.Selector
	for _, w := range wishes {
		all = append(all, w.selectors...)
	}
	found, err := f.Find(ctx, all)
	if err != nil {
		return err
	}
	if err := s.tellGaps(found); err != nil {
		return err
	}
	var errs []error
	usable := &inventory.Found{}
	for _, w := range wishes {
		list, err := s.choose(w, found)
		errs = append(errs, err)
		for _, i := range list {
			if !slices.Contains(usable.Instances, i) {
				usable.Instances = append(usable.Instances, i)
			}
		}
		byWish[w], w.finder = list, f
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := f.Images(ctx, usable); err != nil {
		return err
	}
	for _, i := range usable.Instances {
		for _, u := range i.Unknown {
			if text := "login names of instances: not known: " + u; !slices.Contains(s.o.Warnings, text) {
				s.o.Warnings = append(s.o.Warnings, text)
			}
		}
	}
	return s.learnWays(ctx, f, wishes, byWish)
}

// searchHint is what helps where a place could not be searched.
const searchHint = "--aws-profile, --aws-role and --ec2-region say as whom and where AWS is asked; docs/inventory-policy.json has what is needed"

// tellGaps warns of regions that could not be searched if all were asked for; one that was named must be searched, and each if all
// hosts or none are to be captured.
func (s *ec2Search) tellGaps(found *inventory.Found) error {
	var errs []error
	var off []string
	for _, g := range found.Gaps {
		told := slices.ContainsFunc(s.o.NotSearched, func(x inventory.Gap) bool { return x.Place == g.Place && x.Off == g.Off })
		switch {
		case !g.Off && (g.Named || s.o.All):
			errs = append(errs, fmt.Errorf("look for instances in %s: %w", g.Place, g.Err))
			continue
		case told:
			continue
		case g.Off:
			off = append(off, g.Place.String())
		default:
			s.o.Warnings = append(s.o.Warnings, fmt.Sprintf("NOT SEARCHED for instances: %s: %s", g.Place, g.Why))
		}
		s.o.NotSearched = append(s.o.NotSearched, g)
	}
	if len(off) > 0 {
		s.o.Warnings = append(s.o.Warnings, "not searched for instances, as the account has not enabled them: "+strings.Join(off, ", "))
	}
	if err := errors.Join(errs...); err != nil {
		return &usageError{Msg: err.Error(), Err: err, Fix: searchHint + ". A name of ssh_config that looks like an instance's id belongs into a hosts file, as addr"}
	}
	return nil
}

// ambiguous refuses a selector in which an address or a DNS name is that of several instances, be they to be captured or not. Who writes
// one means one machine, and networks with the same range are common: each default VPC has it.
func ambiguous(sel hostsfile.Selector, list []*inventory.Instance) error {
	var errs []error
	for _, t := range sel.Terms {
		if t.Not || t.Kind != hostsfile.ByAddress && t.Kind != hostsfile.ByDNS {
			continue
		}
		for _, v := range t.Values {
			t.Values = []string{v}
			this := hostsfile.Selector{Terms: append(slices.Clone(sel.Terms), t)}
			var names []string
			var last *inventory.Instance
			for _, i := range list {
				if i.Is(this) {
					names, last = append(names, instanceText(i)), i
				}
			}
			if len(names) > 1 {
				errs = append(errs, fmt.Errorf("%q: %s is of %d instances: %s. Say which: by its id, by its VPC too (%s,%s), or by the one region to look in (--ec2-region, ec2_region)",
					sel.Text, v, len(names), strings.Join(names, "; "), v, cmp.Or(last.VPC, "vpc-...")))
			}
		}
	}
	return errors.Join(errs...)
}

// instanceText names an instance and its place.
func instanceText(i *inventory.Instance) string {
	text := i.ID
	if i.Name != "" {
		text += fmt.Sprintf(" (%q)", i.Name)
	}
	text += " in " + inventory.Place{Account: i.Account, Region: i.Region}.String()
	if i.VPC != "" {
		text += ", " + i.VPC
	}
	return text
}

// choose are the instances of a wish that can be captured. Each selector must name one at least.
func (s *ec2Search) choose(w *ec2Wish, found *inventory.Found) (usable []*inventory.Instance, err error) {
	var errs []error
	for _, sel := range w.selectors {
		if err := ambiguous(sel, found.Instances); err != nil {
			errs = append(errs, err)
			continue
		}
		matched := 0
		var out []string
		for _, i := range found.Instances {
			if !i.Is(sel) {
				continue
			}
			why := i.Why(s.here.Instance)
			if why == "" {
				matched++
				if !slices.Contains(usable, i) {
					usable = append(usable, i)
				}
				continue
			}
			l := leftOut{i.ID, i.Name, why}
			out = append(out, l.String())
			if !slices.Contains(s.o.LeftOut, l) {
				s.o.LeftOut = append(s.o.LeftOut, l)
			}
		}
		switch {
		case matched > 0:
		case len(out) > 0:
			errs = append(errs, fmt.Errorf("%q names no instance that can be captured: %s", sel.Text, strings.Join(out, "; ")))
		default:
			errs = append(errs, fmt.Errorf("%q names no instance; searched: %s", sel.Text, placesText(found.Places)))
		}
	}
	return usable, errors.Join(errs...)
}

// maxPlaces is how many places a message names.
const maxPlaces = 40

func placesText(places []inventory.Place) string {
	var texts []string
	for _, p := range places[:min(len(places), maxPlaces)] {
		texts = append(texts, p.String())
	}
	if n := len(places) - maxPlaces; n > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", n))
	}
	return cmp.Or(strings.Join(texts, ", "), "nowhere")
}

func (l leftOut) String() string {
	if l.Name == "" {
		return l.ID + ": " + l.Why
	}
	return fmt.Sprintf("%s (%q): %s", l.ID, l.Name, l.Why)
}

// tellSelection says which instances are not captured, and where none was looked for. The warnings have the latter in words.
func (o *captureOptions) tellSelection(c *console) error {
	for _, l := range o.LeftOut {
		c.warn("left out: %s", l)
		if c.json {
			if err := c.message("left_out", l); err != nil {
				return err
			}
		}
	}
	if !c.json {
		return nil
	}
	for _, g := range o.NotSearched {
		if err := c.message("not_searched", g); err != nil {
			return err
		}
	}
	return nil
}

// unsearched are the places in which there may be selected instances that nobody could see. A region that the account has not enabled is none.
func (o *captureOptions) unsearched() (places []inventory.Place) {
	for _, g := range o.NotSearched {
		if !g.Off {
			places = append(places, g.Place)
		}
	}
	return places
}

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/shotglass-ir/shotglass/cmd/internal/flowlogs"
	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
)

// shownPeers bounds the addresses that a person is shown; --json has all.
const shownPeers = 50

// A peerMessage is a "peer" line: an address that talked to the target, and the instances that have it where was looked.
type peerMessage struct {
	flowlogs.Peer
	Target    string   `json:"related_to"`
	Instances []string `json:"instances,omitempty"`
}

// talked adds the instances that talked to the target, by the flow logs of its VPC, to those that share something with it, and keeps the peers for tell.
func (o *inventoryRun) talked(ctx context.Context, f *inventory.Finder, target *inventory.Instance, all []*inventory.Instance, relations []inventory.Relation) ([]inventory.Relation, error) {
	r := &flowlogs.Reader{Config: f.Config, Since: o.flows, Bytes: o.flowsMax, Before: o.cost}
	var err error
	if o.talk, err = r.Of(ctx, target); err != nil {
		return nil, err
	}
	how := map[string][]string{} // by the ARN of an instance
	for _, p := range o.talk.Peers {
		m := peerMessage{Peer: p, Target: target.ID}
		for _, i := range holders(p.Address.String(), target, all) {
			m.Instances = append(m.Instances, i.ID)
			how[i.ARN] = append(how[i.ARN], talkText(p))
		}
		o.peers = append(o.peers, m)
	}
	var list []inventory.Relation
	for _, i := range all {
		at := slices.IndexFunc(relations, func(r inventory.Relation) bool { return r.ARN == i.ARN })
		switch texts := how[i.ARN]; {
		case at >= 0:
			relations[at].Shares = append(relations[at].Shares, texts...)
			list = append(list, relations[at])
		case len(texts) > 0:
			list = append(list, inventory.Relation{Instance: i, Target: target.ID, Shares: texts})
		}
	}
	return list, nil
}

// costText says what reading a flow log takes, before it is read.
func costText(cost flowlogs.Cost) string {
	if cost.Files > 0 {
		return fmt.Sprintf("%s: %d files, %s as they are stored, are fetched from %s; no more than %s of text are read (--flows-max)", cost.ID, cost.Files, size(cost.Stored), cost.To, size(cost.Most))
	}
	return fmt.Sprintf("%s: the log group %s stores %s; of that the streams of the target's interfaces are read, no more than %s (--flows-max)", cost.ID, cost.To, size(cost.Stored), size(cost.Most))
}

// holders are the instances that have an address: of the target's own VPC, else wherever, since private addresses are used again.
func holders(address string, target *inventory.Instance, all []*inventory.Instance) (list []*inventory.Instance) {
	for _, i := range all {
		if i.ARN != target.ARN && (slices.Contains(i.Private, address) || slices.Contains(i.Public, address) || slices.Contains(i.IPv6, address)) {
			list = append(list, i)
		}
	}
	if slices.ContainsFunc(list, func(i *inventory.Instance) bool { return i.VPC == target.VPC }) {
		list = slices.DeleteFunc(list, func(i *inventory.Instance) bool { return i.VPC != target.VPC })
	}
	return list
}

func talkText(p flowlogs.Peer) string {
	text := fmt.Sprintf("talked by %s: %s to the target, %s from it", p.Address, size(p.In), size(p.Out))
	if !p.First.IsZero() {
		text += fmt.Sprintf(", %s to %s", clock(p.First), clock(p.Last))
	}
	if len(p.Ports) > 0 {
		text += ", " + strings.Join(p.Ports[:min(len(p.Ports), 3)], ", ")
	}
	return text
}

// tellFlows says what the flow logs do not tell, and who else talked to the target.
func (o *inventoryRun) tellFlows(c *console) error {
	if o.talk == nil {
		return nil
	}
	for _, m := range o.talk.Missing {
		c.warn("not known: %s", printable(m))
	}
	if c.json {
		for _, l := range o.talk.Logs {
			if err := c.message("flow_log", l); err != nil {
				return err
			}
		}
		for _, p := range o.peers {
			if err := c.message("peer", p); err != nil {
				return err
			}
		}
		return nil
	}
	others := slices.DeleteFunc(slices.Clone(o.peers), func(p peerMessage) bool { return len(p.Instances) > 0 })
	if len(others) == 0 {
		return nil
	}
	fmt.Fprintln(c, "TALKED TO ADDRESSES OF NO INSTANCE THAT WAS FOUND")
	w := tabwriter.NewWriter(c, 0, 8, 2, ' ', 0)
	for _, p := range others[:min(len(others), shownPeers)] {
		fmt.Fprintf(w, "  %s\t%s in\t%s out\t%s to %s\t%s\n", p.Address, size(p.In), size(p.Out), clock(p.First), clock(p.Last), dash(strings.Join(p.Ports, ", ")))
	}
	w.Flush()
	if n := len(others) - shownPeers; n > 0 {
		fmt.Fprintf(c, "  and %d more: --json has all\n", n)
	}
	return nil
}

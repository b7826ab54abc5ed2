package containment

import "slices"

// The way of an interface from its own groups to the one that lets nothing pass leads through one that lets
// everything pass: what is left half-way there is worse than what was never touched.

// isolated reports whether a plan isolates an item in the end.
func isolated(p *Plan, i Item) bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Item == i && c.Stage == Isolate })
}

// opened says that an item was left in the group of the stage Untrack.
func opened(i Item) Residual {
	return Residual{Path: "open", What: i.String() + " is in the group that lets everything pass",
		Do: "contain it again at once, or release it"}
}

// stillTracked are the items of a plan that were isolated without their flows having become untracked.
func (r *record) stillTracked(p *Plan) []Residual {
	var all []Residual
	for _, c := range p.Changes {
		if c.Stage == Isolate && r.tracked[c.Item] {
			all = append(all, Residual{Path: "tracked-flows", What: c.Item.String() + ": tracked flows were not converted, and may go on though it is isolated",
				Do: "deny their remote addresses in the network ACL of the subnet (shotglass contain --deny-address), or stop the instance"})
		}
	}
	return all
}

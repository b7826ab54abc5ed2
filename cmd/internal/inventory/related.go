package inventory

import "slices"

// Shared says what an instance has in common with another: an AMI, an instance profile, security groups, a key pair. What is
// common to all that a maker sells, an AMI of Amazon's for instance, says little; that is for who reads it.
func (i *Instance) Shared(other *Instance) (what []string) {
	here := i.Account == other.Account && i.Region == other.Region
	if i.Image.ID != "" && i.Image.ID == other.Image.ID {
		what = append(what, "AMI "+i.Image.ID)
	}
	if i.Profile != "" && i.Profile == other.Profile {
		what = append(what, "instance profile "+i.Profile)
	}
	for _, g := range i.Groups {
		if slices.ContainsFunc(other.Groups, func(o Group) bool { return o.ID == g.ID }) {
			what = append(what, "security group "+g.ID)
		}
	}
	if i.Key != "" && i.Key == other.Key {
		if here {
			what = append(what, "key pair "+i.Key)
		} else { // a key of one name may be another one there
			what = append(what, "a key pair called "+i.Key+", as in another region or account")
		}
	}
	return what
}

// A Relation is an instance with what it shares with a target.
type Relation struct {
	*Instance
	Target string   `json:"related_to"` // its id
	Shares []string `json:"shares"`
}

// Related are the instances that share something with a target, in the order of all.
func Related(target *Instance, all []*Instance) (list []Relation) {
	for _, i := range all {
		if i.ARN == target.ARN {
			continue
		}
		if what := i.Shared(target); len(what) > 0 {
			list = append(list, Relation{i, target.ID, what})
		}
	}
	return list
}

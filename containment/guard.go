package containment

import (
	"fmt"
	"slices"
	"strings"
)

// An Identity is who calls, as STS's GetCallerIdentity says, and how it came to be.
type Identity struct {
	ARN     string `json:"arn"`
	Account string `json:"account"`
	// Chain are the ARNs of the principals that roles were assumed from to get here, first the one that
	// began.
	Chain []string `json:"chain,omitempty"`
	// Assumes are roles that are assumed from there for targets in other accounts. One without an account is that of
	// any.
	Assumes []string `json:"assumes,omitempty"`
	// Instance is the id of the EC2 instance that this program runs on, if it does.
	Instance string `json:"instance,omitempty"`
	// Function is the name of the Lambda function that this program runs in, if it does.
	Function string `json:"function,omitempty"`
}

// Instances are the ids of the EC2 instances that the caller is on, or got its credentials through: AWS names the
// sessions of an instance's role by the instance.
func (who Identity) Instances() []string {
	var ids []string
	if who.Instance != "" {
		ids = append(ids, who.Instance)
	}
	for _, arn := range slices.Concat([]string{who.ARN}, who.Chain) {
		f := strings.SplitN(arn, ":", 6)
		if len(f) != 6 || f[2] != "sts" || !strings.HasPrefix(f[5], "assumed-role/") {
			continue
		}
		if id := f[5][strings.LastIndexByte(f[5], '/')+1:]; instanceIDs.MatchString(id) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// A Guard knows what is never contained.
type Guard struct {
	// BreakGlass are ARNs or short forms of what must keep working: emergency users and roles, the
	// forensic hosts.
	BreakGlass []Target
}

// Check refuses a target that is the caller, something that the caller became who it is through, the
// host that it runs on, or on the break-glass list. Its error wraps ErrRefused. There is no way around
// it but another caller.
func (g Guard) Check(t Target, who Identity) error {
	for i, arn := range slices.Concat([]string{who.ARN}, who.Chain, who.Assumes) {
		p, root := principal(arn)
		if root && i == 0 {
			return fmt.Errorf("%s: you are the root user of account %s: call as a role made for incident response: %w", t, who.Account, ErrRefused)
		}
		if same(t, p) {
			what := "is what you are calling as"
			if i > len(who.Chain) {
				what = "is the role that you act through"
			} else if i > 0 {
				what = "is what your role was assumed from"
			}
			return fmt.Errorf("%s %s (%s): containing it would lock you out half way: %w", t, what, arn, ErrRefused)
		}
	}
	if t.Kind == Instance && slices.Contains(who.Instances(), t.Name) {
		return fmt.Errorf("%s is the instance that this runs on: contain it from another: %w", t, ErrRefused)
	}
	if t.Kind == Function && who.Function != "" && t.Name == who.Function && (t.Account == "" || t.Account == who.Account) {
		return fmt.Errorf("%s is the function that this runs in: contain it from elsewhere: %w", t, ErrRefused)
	}
	for _, b := range g.BreakGlass {
		if same(t, b) {
			return fmt.Errorf("%s is on the break-glass list: %w", t, ErrRefused)
		}
	}
	return nil
}

// PrincipalOf returns the user or role behind an ARN as GetCallerIdentity tells it: the role of a session, whose path
// is then unknown. It reports whether there is one: root is neither.
func PrincipalOf(arn string) (Target, bool) {
	t, root := principal(arn)
	return t, !root && t.Kind != ""
}

// principal returns the user or role behind an ARN of IAM or STS: the role of an assumed-role session. Its
// path is unknown for those, since sessions do not tell it.
func principal(arn string) (t Target, root bool) {
	f := strings.SplitN(arn, ":", 6)
	if len(f) != 6 {
		return Target{}, false
	}
	t = Target{Partition: f[1], Account: f[4]}
	r := strings.Split(f[5], "/")
	switch {
	case f[5] == "root":
		return Target{}, true
	case f[2] == "sts" && r[0] == "assumed-role" && len(r) >= 3:
		t.Kind, t.Name = Role, r[1]
	case f[2] == "sts" && r[0] == "federated-user" && len(r) == 2:
		t.Kind, t.Name = User, r[1] // named like the user by convention alone
	case f[2] == "iam" && len(r) >= 2 && (r[0] == "user" || r[0] == "role"):
		t.Kind, t.Name = Kind(r[0]), r[len(r)-1]
		t.Path = strings.TrimSuffix(strings.TrimPrefix(f[5], r[0]), t.Name)
	}
	return t, false
}

// same reports whether two targets are one thing, or may be: what either does not say is taken to
// agree. IAM names are unique within an account without regard to case and path.
func same(a, b Target) bool {
	differ := func(x, y string) bool { return x != "" && y != "" && x != y }
	if a.Kind == "" || a.Kind != b.Kind || differ(a.Account, b.Account) || differ(a.Region, b.Region) {
		return false
	}
	if a.Kind == User || a.Kind == Role {
		return strings.EqualFold(a.Name, b.Name)
	}
	return a.Name == b.Name
}

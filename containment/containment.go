// Package containment takes an AWS principal or resource out of an attacker's hands,
// proves that it holds, and gives it back exactly as it was.
//
// The way of it is Plan, Apply, Verify, Release:
//
//	engine := &containment.Engine{Services: services, Journals: containment.Dir("case-42")}
//	plan, err := engine.Plan(ctx, target, containment.Options{Case: "case-42"})
//	result, err := engine.Apply(ctx, plan, containment.ApplyOptions{})
//	result, err = engine.Release(ctx, result.Journal, containment.ReleaseOptions{})
//
// Everything that is changed is an [Item] with a [State]: the groups of one interface,
// one inline policy, the status of one key. A [Change] sets an item from the state that
// it was found in to the one that is wanted. So one engine applies, verifies, watches and
// releases everything, and a [Service] need only read an item and set it.
//
// Before each call its item, the state it had and the state it shall have are in
// the [Journal], durably. Whatever happens then, the journal tells what may have
// been changed, and what it was before. Release compares and swaps: it puts back what
// is still as we set it, leaves what is as it was, and calls the rest a conflict.
//
// The package imports nothing of AWS. Services live in its sub-packages.
package containment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrGone is wrapped by errors about an item, or a target, that no longer exists.
	ErrGone = errors.New("no longer exists")

	// ErrDenied is wrapped by errors about a permission that the caller lacks.
	ErrDenied = errors.New("permission missing")

	// ErrRefused is wrapped by errors about a target that is not contained on
	// principle: our own principal, a break-glass account, a service-linked role.
	ErrRefused = errors.New("refused")
)

// A State is what an item is set to, as JSON; null means that it is not there. Two states
// are the same if their JSON is (see Same), whatever its spacing and order of keys:
// a service puts lists whose order means nothing in order.
type State = json.RawMessage

// Absent is the state of an item that is not there.
var Absent = State("null")

// An Item is one thing that can be read and set by itself.
type Item struct {
	// Kind says which service has it and what it is: "ec2/interface-groups".
	Kind string `json:"kind"`
	// ID is unique for the kind within the target's account and region, for instance
	// "eni-0abc", or "role-name/policy-name".
	ID string `json:"id"`
}

func (i Item) String() string { return i.Kind + " " + i.ID }

// A Stage is a part of a containment. Stages are applied in the order below and
// released in reverse; the changes of one stage go in parallel.
type Stage string

// The order is that of AWS's own playbooks, with the waits that they leave out: what
// would destroy evidence is stopped first, Auto Scaling and load balancers learn of it before
// the network changes, since they end what fails their checks.
const (
	Protect  Stage = "protect"  // termination and stop protection, volumes kept, tags
	Detach   Stage = "detach"   // Auto Scaling standby, load balancers
	Lock     Stage = "lock"     // credentials
	Prepare  Stage = "prepare"  // security groups made and checked
	Timeouts Stage = "timeouts" // idle timeouts of tracked connections
	Untrack  Stage = "untrack"  // the group that makes flows untracked
	Isolate  Stage = "isolate"  // the group that lets nothing through; functions stopped
	Cut      Stage = "cut"      // hard cuts, on request
)

// Stages are all stages, in order.
var Stages = []Stage{Protect, Detach, Lock, Prepare, Timeouts, Untrack, Isolate, Cut}

// A Change sets one item.
type Change struct {
	Item
	Stage   Stage  `json:"stage"`
	Summary string `json:"summary"` // one line for a person: "put eni-0abc into sg-isolate alone"
	Call    string `json:"call"`    // the API call that makes it: "ec2:ModifyNetworkInterfaceAttribute"

	// Prior is the state at the time of the plan. What release puts back is
	// the state read just before the change, which the journal has.
	Prior State `json:"prior"`
	Want  State `json:"want"`

	// Needs are items whose change must have been made first, of an earlier stage.
	Needs []Item `json:"needs,omitempty"`

	// OneOf names a set of changes that do the same in several ways, such as an inline and a managed
	// policy. One that holds is enough; the others are tried too.
	OneOf string `json:"one_of,omitempty"`
	// Optional changes may fail without the containment failing; they are reported.
	Optional bool `json:"optional,omitempty"`

	// Risk names what the change may break beyond the attacker, for the person who is asked:
	// "stops-workload". Empty: nothing worth asking.
	Risk string `json:"risk,omitempty"`

	// Irreversible says why release cannot undo it. Such a change is only planned on request.
	Irreversible string `json:"irreversible,omitempty"`
	// Keep says why release leaves it, though it could be undone, unless asked with the
	// name of its kind (see ReleaseOptions.Also): keys stay inactive.
	Keep string `json:"keep,omitempty"`
	// Watch has the item read again and again after the change, since an attacker who still has
	// credentials can undo it (see ApplyOptions.Watch).
	Watch bool `json:"watch,omitempty"`

	// Permissions are what applying and releasing it need, as IAM actions
	// on resources, for simulation and for least-privilege policies.
	Permissions []Permission `json:"permissions,omitempty"`
}

// A Permission is an action on a resource.
type Permission struct {
	Action   string `json:"action"`   // "iam:PutRolePolicy"
	Resource string `json:"resource"` // an ARN, or "*"
}

// A Residual is a way that stays open after the containment, found by reading, never by
// assumption: a NAT gateway that keeps flows tracked, DNS, an interface that has no security groups.
type Residual struct {
	Path string `json:"path"` // "nat-gateway", "dns", "secondary-interface"
	What string `json:"what"` // what stays open, and for whom
	Do   string `json:"do"`   // what can be done about it
	// Known says that the way is there for every target of the kind, like DNS; it is reported, but
	// does not make a result residual.
	Known bool `json:"known,omitempty"`
}

// A Wait is time that must pass before a stage, for a reason that is shown.
type Wait struct {
	Before Stage         `json:"before"`
	For    time.Duration `json:"for_ns"`
	Why    string        `json:"why"`
}

// A Plan is what Apply would do. It is made of reads alone. Its JSON form is stable:
// fields are only added.
type Plan struct {
	Version int    `json:"v"`
	Case    string `json:"case,omitempty"`
	Target  Target `json:"target"`
	// Touches are other principals that the changes bear on, such as the user of a key: guard rails
	// refuse the plan if they refuse one of them.
	Touches   []Target   `json:"touches,omitempty"`
	Caller    Identity   `json:"caller"`
	Made      time.Time  `json:"made"`
	Changes   []Change   `json:"changes"` // in the order of their stages
	Waits     []Wait     `json:"waits,omitempty"`
	Residuals []Residual `json:"residuals,omitempty"`
	// Warnings are what a person should know before saying yes: who else uses the role.
	Warnings []string `json:"warnings,omitempty"`
	// Missing are permissions that the caller is known to lack. Apply would fail there.
	Missing []Denial `json:"missing,omitempty"`
	// Unchecked says which permissions nothing could be learned about, and why.
	Unchecked []string `json:"unchecked,omitempty"`
	// Evidence is the target as described before any change, as its service has it.
	Evidence json.RawMessage `json:"evidence,omitempty"`
	// Verification says how far reading back proves the plan's purpose: ByState for
	// credentials, ByFlows for a network, which needs to be looked at from elsewhere.
	Verification Verification `json:"verification"`
	// Options are those that the plan was made with. A containment that is resumed or
	// verified later is planned again with them.
	Options Options `json:"options"`
}

// A Denial is a permission that a dry run or a simulation refused.
type Denial struct {
	Permission
	By string `json:"by"` // "DryRun", "SimulatePrincipalPolicy"
}

// Verification says what reading the items back proves.
type Verification string

const (
	ByState Verification = "state" // what is read back is the proof
	ByFlows Verification = "flows" // packets may still flow: only flows prove it
)

// Risks returns the names of the risks of the plan's changes, each once, in order.
func (p *Plan) Risks() []string {
	var names []string
	seen := map[string]bool{"": true}
	for _, c := range p.Changes {
		if !seen[c.Risk] {
			seen[c.Risk] = true
			names = append(names, c.Risk)
		}
	}
	return names
}

// Options say what a containment of a target shall be. Services ignore what does not concern
// them. Its JSON form is in the journal.
type Options struct {
	Case string `json:"case,omitempty"`

	// Mode is the way of a role ("revoke" or "deny") or of a function ("strict"); empty is the service's default.
	Mode string `json:"mode,omitempty"`
	// Without are stages to leave out.
	Without []Stage `json:"without,omitempty"`
	// Cuts are hard cuts asked for by name: "public-address", "nacl-subnet", "stop"; of roles, "trust-policy".
	Cuts []string `json:"cuts,omitempty"`
	// Addresses are remote addresses or prefixes to deny in the subnet's network ACL.
	Addresses []string `json:"addresses,omitempty"`
	// Forensic is the source that the isolation group lets in: a prefix or a group id. Empty: none.
	Forensic     string `json:"forensic,omitempty"`
	ForensicPort int    `json:"forensic_port,omitempty"` // default 22
	// UntrackWait is how long flows have to become untracked: nil: 75 s, since AWS's shortest idle
	// timeout is 60 s.
	UntrackWait *time.Duration `json:"untrack_wait_ns,omitempty"`
	// Irreversible changes that were asked for by name: "durable-executions".
	Irreversible []string `json:"irreversible,omitempty"`
	// KeyOnly leaves the key's user as it is.
	KeyOnly bool `json:"key_only,omitempty"`
	// QuarantineTag is a tag, as KEY or KEY=VALUE, that users and roles get beside the deny policies: an organisation's
	// service control policy acts on it, which the attacker cannot take away. A KEY alone has the value "true".
	QuarantineTag string `json:"quarantine_tag,omitempty"`
}

// A Service knows the targets of some kinds and the items of some kinds. It must be safe for
// concurrent use. It makes no change but in Set.
type Service interface {
	// Name begins the kinds of its items: "ec2".
	Name() string
	// Targets are the kinds of targets that it plans for.
	Targets() []Kind

	// Plan reads the target and says what would be done. It fills in
	// everything but Version, Case, Caller, Made and Options. It must be able to do so
	// for a target that is contained already: an item that is as wanted is then a change
	// whose Prior is its Want. It returns an error wrapping ErrGone if there is no such target,
	// ErrRefused if its kind cannot be contained so.
	Plan(ctx context.Context, t Target, o Options) (*Plan, error)

	// Read returns the state of an item now, Absent if it is not there but could be, and an error
	// wrapping ErrGone if what would hold it is gone.
	Read(ctx context.Context, t Target, i Item) (State, error)

	// Set brings the item from a state to another, with one call that changes something if
	// that is possible, and returns what the service said. It may be called again
	// after an error, or when the item is in the state to already. When it returns nil,
	// Read returns to, at the latest after the service's own delays. ctx may end at any
	// time; the item is then in one of the two states, or in one that Read can tell from both.
	Set(ctx context.Context, t Target, i Item, from, to State) (Reply, error)
}

// A Resolver is a service whose plans name things that do not exist before they are applied, such
// as a security group. Resolve returns the state to journal and to set: with the group's id in place
// of its name. It changes nothing.
type Resolver interface {
	Resolve(ctx context.Context, t Target, i Item, want State) (State, error)
}

// An Opener is a service with states that a release must not bring an item to, although the journal has one as what was before: a group
// that lets everything pass, which another containment put an interface into on its way. Opens says why, and is empty for other states.
// It changes nothing.
type Opener interface {
	Opens(ctx context.Context, t Target, i Item, to State) (why string, err error)
}

// A Simulator is a service that can ask whether the caller may do something: by DryRun, or by simulation of
// policies. It returns what is denied, and what could not be asked, with the reason.
type Simulator interface {
	Simulate(ctx context.Context, p *Plan) (denied []Denial, unchecked []string, err error)
}

// A Reply is what a service answered to a call that changes something.
type Reply struct {
	RequestID string `json:"request_id,omitempty"`
	Note      string `json:"note,omitempty"` // what the person should know: "the default timeout was written, since it cannot be unset"
}

// Same reports whether two states are the same JSON.
func Same(a, b State) bool {
	ca, errA := canonical(a)
	cb, errB := canonical(b)
	return errA == nil && errB == nil && bytes.Equal(ca, cb)
}

// NewState returns v as a state.
func NewState(v any) (State, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	return b, nil
}

// canonical is JSON without spaces, keys sorted, numbers as they were written. No bytes
// at all are null.
func canonical(s State) ([]byte, error) {
	if len(bytes.TrimSpace(s)) == 0 {
		return []byte("null"), nil
	}
	d := json.NewDecoder(bytes.NewReader(s))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	return json.Marshal(v)
}

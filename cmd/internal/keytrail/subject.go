package keytrail

import (
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/shotglass-ir/shotglass/cmd/internal/trail"
	"github.com/shotglass-ir/shotglass/containment"
)

// A Subject is an identity whose events are looked for.
type Subject struct {
	Kind    string `json:"kind"` // as the kinds of trail.Gain
	ID      string `json:"id"`   // an access key, an instance's id, or a name
	Account string `json:"account,omitempty"`
	// Owner is the ARN of whose it is: of keys the user, or the role or session.
	Owner string `json:"owner,omitempty"`
	Made  bool   `json:"made,omitempty"` // by what was followed; otherwise it was there before
	Depth int    `json:"depth"`
	Via   *Step  `json:"via,omitempty"`
	Use   Use    `json:"use"`
	// Region is that of an instance or a function.
	Region string `json:"region,omitempty"`

	// More are others like it, of those that were not followed: temporary keys with the same owner.
	More int `json:"more,omitempty"`

	since  time.Time // no event before it can be its doing
	looks  int       // how often its events were looked for
	noPath bool      // its ARN is put together from its name
	// roles are those that a function had, and others the roles of sessions with its name, if none is known.
	roles  []string
	others map[string]bool
}

// A Step is the call by which one identity came to another.
type Step struct {
	Of      string    `json:"of"` // the label of who called
	Event   string    `json:"event"`
	EventID string    `json:"event_id,omitempty"`
	Time    time.Time `json:"time"`
}

// Label is what it is called, it alone: "AKIA...", "user/alice of 111122223333", "function/api of 111122223333 in eu-west-1".
func (s *Subject) Label() string {
	name := s.ID
	if s.Kind != trail.GainKey && s.Kind != trail.GainInstance {
		name = s.Kind + "/" + s.ID
	}
	if s.Account != "" && s.Kind != trail.GainKey {
		name += " of " + s.Account
	}
	if s.Kind == trail.GainFunction && s.Region != "" {
		name += " in " + s.Region
	}
	return name
}

// key tells it apart from others: IAM knows no two names that differ in case alone.
func (s *Subject) key() string { return strings.ToLower(s.Label()) }

// Target is what to contain to contain it, if that can be told.
func (s *Subject) Target() (containment.Target, bool) {
	arn := s.Owner
	switch s.Kind {
	case trail.GainKey:
		if t, ok := containment.PrincipalOf(arn); ok {
			return t, true
		}
		if strings.HasPrefix(s.ID, "ASIA") {
			t, err := containment.ParseTarget(arn)
			return t, err == nil
		}
		return containment.Target{Kind: containment.AccessKey, Account: s.Account, Name: s.ID}, true
	case trail.GainInstance, trail.GainFunction:
		t, err := containment.ParseTarget(map[string]string{trail.GainInstance: s.ID, trail.GainFunction: "function/" + s.ID}[s.Kind])
		t.Account, t.Region = s.Account, s.Region
		return t, err == nil && s.Region != ""
	}
	partition := ""
	if f := strings.SplitN(arn, ":", 3); len(f) == 3 {
		partition = f[1]
	}
	t := containment.Target{Kind: containment.Kind(s.Kind), Partition: partition, Account: s.Account, Name: s.ID} // events do not tell the path
	_, err := containment.ParseTarget(t.Short())
	return t, err == nil
}

// temporary reports whether it is a key that ends by itself: anyone can have as many as they like.
func (s *Subject) temporary() bool {
	return s.Kind == trail.GainKey && !strings.HasPrefix(s.ID, "AKIA")
}

// A question is one that the event history is asked for a subject.
type question struct {
	by    types.LookupAttributeKey
	value string
}

func (s *Subject) questions() []question {
	switch s.Kind {
	case trail.GainKey:
		return []question{{types.LookupAttributeKeyAccessKeyId, s.ID}}
	case trail.GainRole:
		return []question{{types.LookupAttributeKeyResourceName, s.Owner}}
	}
	return []question{{types.LookupAttributeKeyUsername, s.ID}} // of a session its name, which services make that of the instance or function
}

// is reports whether an event is the subject's doing, or, of a role, begins a session of it.
func (s *Subject) is(e *trail.Event) bool {
	switch s.Kind {
	case trail.GainKey:
		return e.By.Key == s.ID
	case trail.GainUser:
		return e.By.User == s.ID && strings.Contains(e.By.ARN, ":user/") && (s.Account == "" || trail.AccountOf(e.By.ARN) == s.Account)
	case trail.GainRole:
		return strings.HasPrefix(e.Name, "Assume") && slices.Contains(e.About, s.Owner)
	}
	return s.named(e) && (s.Kind != trail.GainFunction || slices.Contains(s.roles, e.By.Issuer))
}

// named reports whether an event is of a session that has the name of an instance or a function. Of a function that says little, whatever the role
// is: who makes one chooses its name, and anyone who assumes a role that of the session.
func (s *Subject) named(e *trail.Event) bool {
	return strings.Contains(e.By.ARN, ":assumed-role/") && strings.HasSuffix(e.By.ARN, "/"+s.ID) && (s.Account == "" || trail.AccountOf(e.By.ARN) == s.Account)
}

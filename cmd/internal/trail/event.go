// Package trail reads what CloudTrail recorded: from its event history, which has the management events of 90 days, or from log
// files in a folder, which may have those of data too.
//
// An event holds what callers sent, user agents and session names among it, which an attacker chooses: its texts are cut to a length, and are
// to be quoted before a terminal gets them.
package trail

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// An Event is what is kept of one. Empty fields are those that it does not have.
type Event struct {
	ID      string    `json:"id,omitempty"`
	Time    time.Time `json:"time"`
	Name    string    `json:"event"`             // "RunInstances"
	Service string    `json:"service,omitempty"` // "ec2"
	Region  string    `json:"region,omitempty"`
	Account string    `json:"account,omitempty"` // that recorded it
	Address string    `json:"address,omitempty"` // of the caller, or the name of a service
	Agent   string    `json:"agent,omitempty"`
	By      Identity  `json:"by"`
	Error   string    `json:"error,omitempty"` // its code
	Message string    `json:"error_message,omitempty"`
	// About names what it is about: the first texts of the request that name something.
	About    []string `json:"about,omitempty"`
	ReadOnly bool     `json:"read_only,omitempty"`
	Data     bool     `json:"data_event,omitempty"`
	Class    Class    `json:"class"`
	Gains    []Gain   `json:"gains,omitempty"` // if it succeeded
	// Untold says that it gave identities that the event does not tell, and why.
	Untold string `json:"untold,omitempty"`

	Raw []byte `json:"-"` // as CloudTrail has it
}

// An Identity is who called.
type Identity struct {
	Type    string `json:"type,omitempty"`
	ARN     string `json:"arn,omitempty"`
	Account string `json:"account,omitempty"`
	User    string `json:"user,omitempty"` // the name of an IAM user
	Key     string `json:"access_key,omitempty"`
	Issuer  string `json:"issuer,omitempty"` // of a session: the role, or the user
	Service string `json:"invoked_by,omitempty"`
}

// Bounds of an event.
const (
	maxEvent   = 1 << 20 // bytes of its JSON: CloudTrail's own limit is 256 KiB
	maxText    = 1024    // bytes of a text of it
	maxAbout   = 8       // names of what it is about
	maxGains   = 1024
	maxRequest = 256 << 10 // bytes of a request that is looked into
)

// rawEvent is the event's own form. Its texts may be of any length, and of any type where a caller chose them.
type rawEvent struct {
	EventID, EventTime, EventName, EventSource string
	AWSRegion, RecipientAccountID              string
	SourceIPAddress, UserAgent                 string
	ErrorCode, ErrorMessage                    string
	EventCategory                              string
	ManagementEvent                            *bool
	ReadOnly                                   *bool
	UserIdentity                               struct {
		Type, ARN, AccountID, UserName, AccessKeyID, InvokedBy string
		SessionContext                                         struct {
			SessionIssuer struct{ ARN, UserName string }
		}
	}
	RequestParameters, ResponseElements json.RawMessage
}

// Parse reads the JSON of one event, whoever wrote it. An event without a name or a time is an error.
func Parse(data []byte) (Event, error) {
	if len(data) > maxEvent {
		return Event{}, fmt.Errorf("a CloudTrail event of %d bytes, more than %d", len(data), maxEvent)
	}
	var r rawEvent
	if err := json.Unmarshal(data, &r); err != nil {
		return Event{}, fmt.Errorf("CloudTrail event: %w", err)
	}
	at, err := time.Parse(time.RFC3339, r.EventTime)
	if err != nil {
		return Event{}, fmt.Errorf("CloudTrail event without a time: %w", err)
	}
	if r.EventName == "" {
		return Event{}, fmt.Errorf("CloudTrail event without a name")
	}
	id := r.UserIdentity
	e := Event{
		ID: cut(r.EventID), Time: at.UTC(), Name: cut(r.EventName), Service: cut(strings.TrimSuffix(r.EventSource, ".amazonaws.com")),
		Region: cut(r.AWSRegion), Account: cut(r.RecipientAccountID), Address: cut(r.SourceIPAddress), Agent: cut(r.UserAgent),
		Error: cut(r.ErrorCode), Message: cut(r.ErrorMessage), Data: r.EventCategory == "Data" || r.ManagementEvent != nil && !*r.ManagementEvent,
		By: Identity{Type: cut(id.Type), ARN: cut(id.ARN), Account: cut(id.AccountID), User: cut(id.UserName), Key: cut(id.AccessKeyID),
			Issuer: cut(id.SessionContext.SessionIssuer.ARN), Service: cut(id.InvokedBy)},
		Raw: data,
	}
	request, response := object(r.RequestParameters), object(r.ResponseElements)
	if e.Name == "ConsoleLogin" && e.Error == "" && response.text("ConsoleLogin") == "Failure" {
		e.Error = "Failure"
	}
	e.ReadOnly = r.ReadOnly != nil && *r.ReadOnly || r.ReadOnly == nil && reads(e.Name)
	e.About = about(request)
	e.Class = classOf(&e)
	if e.Error == "" {
		e.Gains, e.Untold = gains(&e, request, response)
	}
	return e, nil
}

// Denied reports whether a permission was missing.
func (e *Event) Denied() bool {
	for _, part := range []string{"AccessDenied", "Unauthorized", "NotAuthorized", "Forbidden"} {
		if strings.Contains(e.Error, part) {
			return true
		}
	}
	return false
}

// Key of an event among others: its id, or all that tells it apart.
func (e *Event) Key() string {
	if e.ID != "" {
		return e.ID
	}
	return strings.Join([]string{e.Time.String(), e.Name, e.Service, e.Region, e.By.Key, e.Address}, "\x00")
}

// cut bounds a text, and makes it UTF-8.
func cut(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
		for i := 0; i < utf8.UTFMax && !utf8.ValidString(s); i++ {
			s = s[:len(s)-1]
		}
		s += "..."
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// params are a request's or an answer's, of any shape.
type params map[string]any

func object(data json.RawMessage) params {
	var p params
	if len(data) > maxRequest || json.Unmarshal(data, &p) != nil {
		return nil
	}
	return p
}

// at is what is at a place in it: in("credentials", "accessKeyId").
func (p params) at(path ...string) any {
	var v any = map[string]any(p)
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// text is the text at a place; empty if there is none.
func (p params) text(path ...string) string {
	s, _ := p.at(path...).(string)
	return cut(s)
}

// named are the fields of requests that name what a call is about, the telling ones first.
var named = []string{
	"roleArn", "userName", "roleName", "groupName", "policyArn", "policyName", "accessKeyId", "instanceProfileName", "functionName", "instanceId", "target",
	"bucketName", "key", "secretId", "name", "trailName", "snapshotId", "imageId", "volumeId", "groupId", "keyName", "keyId", "tableName", "dBInstanceIdentifier",
	"dBSnapshotIdentifier", "stackName", "clusterName", "logGroupName", "detectorId", "documentName", "resourceArn", "serialNumber", "sAMLProviderArn",
}

func about(p params) (names []string) {
	for _, n := range named {
		if s := p.text(n); s != "" && len(names) < maxAbout {
			names = append(names, s)
		}
	}
	items, _ := p.at("instancesSet", "items").([]any)
	for _, i := range items {
		m, _ := i.(map[string]any)
		if s := params(m).text("instanceId"); s != "" && len(names) < maxAbout {
			names = append(names, s)
		}
	}
	return names
}

package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"regexp"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/lockdown"
)

// A message is one SNS message, as Lambda hands it over.
type message struct {
	ID         string    `json:"MessageId"`
	Published  time.Time `json:"Timestamp"`
	Attributes map[string]struct {
		Type  string
		Value string
	} `json:"MessageAttributes"`
}

// maxEvent bounds an event: SNS takes 256 KiB, Lambda a MiB of those who call it without SNS.
const maxEvent = 1 << 20

var messageIDs = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// readEvent reads the messages of an event; SNS puts one into each. Its error repeats nothing of what came.
func readEvent(payload []byte) ([]message, error) {
	var event struct {
		Records []struct {
			EventSource string
			Sns         message
		}
	}
	if len(payload) > maxEvent {
		return nil, errors.New("the event is larger than one of SNS can be")
	}
	if err := json.Unmarshal(payload, &event); err != nil || len(event.Records) == 0 {
		return nil, errors.New("the event is none of SNS: subscribe the function to a topic")
	}
	var all []message
	for _, r := range event.Records {
		if r.EventSource != "aws:sns" || !messageIDs.MatchString(r.Sns.ID) || r.Sns.Published.IsZero() {
			return nil, errors.New("the event is none of SNS, or its message has no id or time")
		}
		all = append(all, r.Sns)
	}
	return all, nil
}

// accept reads what a message asks for. The secret is compared by its digest, in constant time, and what else is wrong
// is told to those alone who know it. Without it the request has a target at most: what stands in other attributes may be the secret,
// in the wrong place.
func (m message) accept(secret [sha256.Size]byte) (lockdown.Request, error) {
	attributes := map[string]string{}
	var binary error
	for name, a := range m.Attributes {
		if a.Type == "Binary" {
			binary = errors.New("an attribute of the message is binary: all are of type String")
		}
		attributes[name] = a.Value
	}
	is := func(s string) bool {
		offered := sha256.Sum256([]byte(s))
		return subtle.ConstantTimeCompare(offered[:], secret[:]) == 1
	}
	r, err := lockdown.Parse(attributes)
	if !is(attributes[lockdown.AttrExternalID]) {
		return lockdown.Request{Target: r.Target}, errors.New("the message's attribute " + lockdown.AttrExternalID + " is missing or wrong")
	}
	if is(r.Case) {
		return lockdown.Request{Target: r.Target}, errors.New("the message's attribute " + lockdown.AttrCase + " is the external id: choose another, since cases are no secret")
	}
	return r, errors.Join(binary, err)
}

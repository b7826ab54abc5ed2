package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// keyDid adds a call with alice's key to the event history; request and answer are JSON.
func (c *cloudTest) keyDid(id, name, request, answer string) {
	us := c.cloud.Account("111122223333").Region("us-east-1")
	c.cloud.Edit(func() {
		us.Trail = append([]awsfake.TrailEvent{{JSON: `{"eventID":"` + id + `","eventTime":"` + time.Now().UTC().Add(-time.Hour).Format(time.RFC3339) + `","eventName":"` + name + `","eventSource":"iam.amazonaws.com",
			"awsRegion":"us-east-1","recipientAccountId":"111122223333","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/team/alice","userName":"alice","accessKeyId":"` + c.key.ID + `"},
			"requestParameters":` + request + `,"responseElements":` + answer + `}`}}, us.Trail...)
	})
}

// An identity that is gone, that is the responder's own, or that lies where nobody may go, keeps neither the owner nor the others from being contained.
func TestKeyContainDespite(t *testing.T) {
	c := newCloudTest(t)
	stolenKey(c)
	c.keyDid("a", "CreateUser", `{"userName":"ghost"}`, `{"user":{"arn":"arn:aws:iam::111122223333:user/ghost"}}`)
	c.keyDid("b", "PutRolePolicy", `{"roleName":"responder"}`, `null`)
	c.keyDid("c", "AssumeRole", `{"roleArn":"arn:aws:iam::999988887777:role/x"}`, `{"credentials":{"accessKeyId":"ASIAAAAAAAAAAAAAAAA3"}}`)
	c.keyDid("d", "GetSessionToken", `{}`, `null`)
	c.keyDid("e", "AssumeRoot", `{"targetPrincipal":"999988887777"}`, `{"credentials":{"accessKeyId":"ASIAAAAAAAAAAAAAAAA4"}}`)
	out, errs := c.run(exitContainment, "key", "--json", "--contain", "--contain-made", "--yes", "--aws-role", "responder", c.key.ID)
	c.want(true, true, true)
	c.has("the result", out, `"message_type":"summary","code":5,"targets":7,"failed":4`)
	c.has("the story", errs, "user/ghost: NOT CONTAINED", "role/responder: NOT CONTAINED", "role/x: NOT CONTAINED", "what iam:GetSessionToken of "+c.key.ID+" gave", "ASIAAAAAAAAAAAAAAAA4 of arn:aws:iam::999988887777:root: NOT CONTAINED", "account 999988887777 is not entered")
	if strings.Contains(errs, "assume arn:aws:iam::999988887777") {
		t.Error(errs)
	}
	if _, after, ok := strings.Cut(out, `"message_type":"containment",`); !ok || !strings.Contains(strings.SplitN(after, "\n", 2)[0], "user/team/alice") {
		t.Errorf("the owner is not contained first: %s", out)
	}
}

// A record that cannot be kept is an error, and the key is contained all the same.
func TestKeyContainUnkept(t *testing.T) {
	c := newCloudTest(t)
	stolenKey(c)
	full := filepath.Join(c.dir, "file")
	if err := os.WriteFile(full, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs := c.run(exitFailed, "key", "-o", full, "--unsigned", "--contain", "--yes", c.key.ID)
	c.want(true, true, false)
	c.has("the story", errs, "keep the record")
}

// What is not contained outweighs what could not be looked at; a key that is gone is contained by whose it was.
func TestKeyContainCode(t *testing.T) {
	for _, tt := range []struct{ contained, traced, want int }{
		{exitOK, exitPartial, exitPartial}, {exitContainment, exitPartial, exitContainment}, {exitFailed, exitFailed, exitContainment},
		{exitFailed, exitOK, exitContainment}, {exitInterrupted, exitPartial, exitInterrupted}, {exitOK, exitOK, exitOK},
	} {
		if got := lockCode(tt.contained, tt.traced); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
	c := newCloudTest(t)
	stolenKey(c)
	c.cloud.Edit(func() { c.alice.Keys = nil })
	c.run(exitOK, "key", "--contain", "--yes", c.key.ID)
	c.want(true, false, false)
}

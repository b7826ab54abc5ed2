package cloudevidence_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// Everything is there, with its digest, its calls and AWS's own request ids, and nothing was changed.
func TestRead(t *testing.T) {
	w := newWorld(t)
	before := w.region.Snapshot()
	quick := false
	c := w.gatherer.Read(t.Context(), w.target, w.kinds("all"), nil, func() { quick = true })
	if !quick || c.State != "running" || c.Name != "web-\u202e1" {
		t.Errorf("quick %v, %q %q", quick, c.State, c.Name)
	}
	_, items, texts := w.read("all")
	for name, want := range map[string][]string{
		"instance":        {`"InstanceId": "i-00000001"`, `"Key": "Empty",` + "\n" + `              "Value": ""`},
		"attributes":      {`"disableApiTermination": {`},
		"user-data":       {"#!/bin/sh\nPASSWORD=hunter2\n"},
		"volumes":         {"vol-00000001", "vol-00000002"},
		"interfaces":      {`"NetworkInterfaceId": "eni-`},
		"security-groups": {`"GroupName": "web"`, `"CidrIpv4": "0.0.0.0/0"`, `"FromPort": 443`},
		"routes":          {`"GatewayId": "igw-00000001"`, `"SubnetId": "subnet-`},
		"network-acls":    {`"NetworkAclId": "acl-`},
		"tags":            {`"Value": "web-`, `"ResourceId": "i-00000001"`},
		"profile":         {`s3:*`, `ec2:*`, `sts:AssumeRole`, policyARN},
		"console":         {"Linux version 6.12\n"},
		"console-latest":  {"login: \x1b[31m\n"},
		"screenshot":      {"\xff\xd8\xff\xe0 picture"},
		"trail":           {"{\"eventName\":\"RunInstances\"}\n{\"eventName\":\"AssumeRole\"}\n"},
	} {
		it := items[name]
		if it.Error != "" || it.Absent != "" || it.Bytes != int64(len(texts[name])) || it.SHA256 == "" || len(it.Calls) == 0 || it.Begun.IsZero() {
			t.Errorf("%s: %+v", name, it)
		}
		for _, s := range want {
			if !strings.Contains(texts[name], s) {
				t.Errorf("%s lacks %q:\n%s", name, s, texts[name])
			}
		}
		for _, call := range it.Calls {
			if call.RequestID == "" || call.AWSTime.IsZero() || call.Operation == "" || call.Region == "" {
				t.Errorf("%s: %+v", name, call)
			}
		}
	}
	if len(items) != len(cloudevidence.Kinds()) {
		t.Errorf("%d items", len(items))
	}
	if strings.Contains(texts["instance"], "null") || strings.Contains(texts["instance"], "ResultMetadata") {
		t.Errorf("what AWS did not tell:\n%s", texts["instance"])
	}
	if w.region.Snapshot() != before {
		t.Error("something was changed")
	}
	for _, call := range w.cloud.Calls() {
		if call.Writes {
			t.Errorf("%s writes", call.Operation)
		}
	}
}

// What there is none of is absent, which is no error; what is not told is UNKNOWN, which is one.
func TestAbsentAndUnknown(t *testing.T) {
	w := newWorld(t)
	w.cloud.Edit(func() {
		w.instance.UserData, w.instance.Profile, w.instance.Type, w.instance.Screenshot = "", "", "m4.large", nil
		w.instance.Console, w.region.Trail = awsfake.Console{}, nil
	})
	_, items, _ := w.read("all")
	for _, name := range []string{"user-data", "profile", "console", "console-latest", "screenshot", "trail"} {
		if it := items[name]; it.Absent == "" || it.Error != "" || it.File != "" {
			t.Errorf("%s: %+v", name, it)
		}
	}
	if err := w.cloud.Restrict(responder, []byte(`{"Statement":[{"Effect":"Allow","Action":["ec2:DescribeTags","ec2:GetConsoleOutput"],"Resource":"*"}]}`)); err != nil {
		t.Fatal(err)
	}
	c, items, texts := w.read("all")
	for name, it := range items {
		switch name {
		case "console", "console-latest":
			if it.Error != "" {
				t.Errorf("%+v", it)
			}
		case "tags": // of the instance they are there
			if !strings.Contains(it.Error, "UNKNOWN") || !strings.Contains(texts[name], "web-") {
				t.Errorf("%+v", it)
			}
		default:
			if !strings.Contains(it.Error, "UNKNOWN, as your credentials may not read it") || it.Absent != "" {
				t.Errorf("%s: %+v", name, it)
			}
		}
	}
	if n := len(cloudevidence.Missing(c.Items)); n != len(items)-2 {
		t.Errorf("%d are missing", n)
	}
}

// A part that is denied does not take the rest of its item with it.
func TestPartOfItem(t *testing.T) {
	for operation, item := range map[string][2]string{
		"DescribeSecurityGroupRules": {"security-groups", `"GroupName": "web"`},
		"DescribeRouteTables":        {"routes", "subnet-"},
		"GetPolicyVersion":           {"profile", "s3:*"},
		"ListRolePolicies":           {"profile", "ec2:*"},
		"GetInstanceProfile":         {"trail", "RunInstances"},
	} {
		w := newWorld(t)
		w.fault(denied, operation)
		_, items, texts := w.read("all")
		if it := items[item[0]]; !strings.Contains(it.Error, "UNKNOWN") || !strings.Contains(texts[item[0]], item[1]) || it.SHA256 == "" {
			t.Errorf("%s: %+v\n%s", operation, it, texts[item[0]])
		}
	}
}

// A terminated instance has little left, and all that is asked for is answered in some way.
func TestTerminated(t *testing.T) {
	w := newWorld(t)
	w.cloud.Edit(func() { w.instance.State = "terminated" })
	c, items, _ := w.read("all")
	if c.State != "terminated" || items["instance"].Error != "" || items["console"].Error != "" || items["profile"].Absent == "" {
		t.Errorf("%q %+v", c.State, items)
	}
	w.cloud.Edit(func() { delete(w.region.Instances, victim) })
	_, items, _ = w.read("all")
	for _, name := range []string{"instance", "attributes", "user-data", "console", "screenshot"} {
		if it := items[name]; !strings.Contains(it.Error, "UNKNOWN: ") || !strings.Contains(it.Error, "InvalidInstanceID.NotFound") {
			t.Errorf("%s: %+v", name, it)
		}
	}
}

// CloudTrail takes two look-ups a second: it is asked no faster, again when it throttles, and no further than it may be.
func TestTrailBounds(t *testing.T) {
	w := newWorld(t)
	w.fault(func(n int, _ *awsfake.Call) awsfake.Fault {
		if n <= 7 { // more than the SDK's own tries
			return awsfake.Fault{Error: &awsfake.Error{Code: "ThrottlingException", Message: "Rate exceeded"}}
		}
		return awsfake.Fault{}
	}, "LookupEvents")
	began := w.cloud.Now()
	_, items, texts := w.read("trail")
	if it := items["trail"]; it.Error != "" || !strings.Contains(texts["trail"], "AssumeRole") {
		t.Errorf("%+v", it)
	}
	if d := w.cloud.Now().Sub(began); d < 2*time.Second {
		t.Errorf("asked again after %s", d)
	}
	w.fault(denied, "LookupEvents")
	if _, items, _ := w.read("trail"); !strings.Contains(items["trail"].Error, "UNKNOWN, as your credentials may not read it") {
		t.Errorf("%+v", items["trail"])
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		words     []string
		n         int
		snapshots bool
		err       string
	}{
		{[]string{"all"}, len(cloudevidence.Kinds()), false, ""},
		{[]string{"all", "snapshots"}, len(cloudevidence.Kinds()), true, ""},
		{[]string{"snapshots"}, 0, true, ""},
		{[]string{"tags", "console", "tags"}, 2, false, ""},
		{[]string{"none"}, 0, false, ""},
		{[]string{"none", "tags"}, 0, false, "none excludes everything else"},
		{[]string{"tag"}, 0, false, `"tag" is nothing that can be gathered`},
		{[]string{""}, 0, false, `"" is nothing`},
	} {
		kinds, snapshots, err := cloudevidence.Parse(tt.words)
		if len(kinds) != tt.n && tt.err == "" || snapshots != tt.snapshots && tt.err == "" || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %d kinds, %v, %v", tt.words, len(kinds), snapshots, err)
		}
	}
	// The hosts file knows the same words.
	words := append([]string{cloudevidence.All, cloudevidence.None}, cloudevidence.Names()...)
	if diff := cmp.Diff(hosts.GatherWords, words); diff != "" {
		t.Error(diff)
	}
}

// TestPolicy does everything with docs/gather-policy.json alone, and finds nothing in it that is not needed.
func TestPolicy(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/gather-policy.json")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	if err := w.cloud.Restrict(responder, doc); err != nil {
		t.Fatal(err)
	}
	c, _, _ := w.read("all")
	o := cloudevidence.SnapshotOptions{Case: "42", LockDays: 7, CopyKey: w.keyFor("", "444455556666:root").ARN, Share: []string{"444455556666"}}
	if p := w.preview(&o, "all"); len(p.Missing) > 0 || len(p.Unchecked) != 1 { // whether the key may be used
		t.Errorf("the plan: %+v", p)
	}
	set := w.gatherer.Start(t.Context(), w.target, o)
	err = w.gatherer.Await(t.Context(), w.target, set, o, nil)
	if why := append(cloudevidence.Missing(c.Items), set.Unfinished()...); err != nil || len(why) > 0 || set.Error != "" {
		t.Errorf("%v %q %s", err, why, set.Error)
	}
	if again := w.gatherer.Start(t.Context(), w.target, o); !again.Earlier || again.Snapshots[0].Locked == "" {
		t.Errorf("%+v", again)
	}
	var p awsfake.Policy
	if err := json.Unmarshal(doc, &p); err != nil {
		t.Fatal(err)
	}
	missing, unused := p.Sum("Gather", w.cloud.Calls())
	unused = slices.DeleteFunc(unused, func(s string) bool { return strings.HasPrefix(s, "GatherOtherAccounts") })
	if len(missing)+len(unused) > 0 {
		t.Errorf("missing %q, unused %q", missing, unused)
	}
	for sid := range map[string]bool{"GatherSnapshots": true, "GatherCopies": true} { // they can be left out by who needs them not
		if !slices.ContainsFunc(p.Statement, func(s awsfake.Statement) bool { return s.Sid == sid }) {
			t.Error(errors.New(fmt.Sprint("no statement ", sid)))
		}
	}
}

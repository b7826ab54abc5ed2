package trail

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const madeKey = `{"eventID":"1","eventTime":"2026-11-22T02:59:00Z","eventSource":"iam.amazonaws.com","eventName":"CreateAccessKey","awsRegion":"us-east-1","recipientAccountId":"111122223333",
	"sourceIPAddress":"198.51.100.7","userAgent":"x","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/team/alice","userName":"alice","accessKeyId":"AKIAONE","accountId":"111122223333"},
	"requestParameters":null,"responseElements":{"accessKey":{"accessKeyId":"AKIATWO","userName":"alice"}},"readOnly":false,"managementEvent":true}`

func TestParse(t *testing.T) {
	e, err := Parse([]byte(madeKey))
	if err != nil {
		t.Fatal(err)
	}
	if e.Class != Persists || e.Service != "iam" || e.By.Key != "AKIAONE" || e.Data {
		t.Errorf("%+v", e)
	}
	if diff := cmp.Diff([]Gain{{Kind: GainKey, ID: "AKIATWO", Account: "111122223333", Owner: "arn:aws:iam::111122223333:user/alice", Made: true}}, e.Gains); diff != "" {
		t.Error(diff)
	}
	denied, err := Parse([]byte(strings.Replace(madeKey, `"readOnly"`, `"errorCode":"Client.UnauthorizedOperation","readOnly"`, 1)))
	if err != nil || !denied.Denied() || len(denied.Gains) > 0 {
		t.Errorf("%+v %v", denied, err)
	}
	for _, bad := range []string{`{}`, `[]`, `{"eventTime":"yesterday","eventName":"x"}`, `{"eventTime":"2026-11-22T02:59:00Z"}`, `{"eventName":3}`, `{"eventName":"` + strings.Repeat("x", maxEvent) + `"}`} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%.40s was taken", bad)
		}
	}
}

func TestGains(t *testing.T) {
	for _, c := range []struct{ name, request, answer, want string }{
		{"UpdateLoginProfile", `{"userName":"bob"}`, `null`, "user bob arn:aws:iam::111122223333:user/bob"},
		{"UpdateLoginProfile", `{"omitted":true}`, `null`, "user alice arn:aws:iam::111122223333:user/alice"},
		{"AssumeRoot", `{"targetPrincipal":"444455556666"}`, `{"credentials":{"accessKeyId":"ASIAX"}}`, "access-key ASIAX arn:aws:iam::444455556666:root made"},
		{"AssumeRole", `{"roleArn":"x"}`, `{"omitted":true}`, "untold: the event does not have it"},
		{"CreateFunction20150331", `{"functionName":"111122223333:function:thumbs:live"}`, `null`, "function thumbs  made"},
		{"SendCommand", `{"targets":[{"key":"InstanceIds","values":["i-1"]},{"key":"tag:Env","values":["prod"]}]}`, `null`, "instance i-1 ; untold: it names its targets by tags or groups"},
		{"UpdateAssumeRolePolicy", `{"roleName":"admin"}`, `null`, "role admin arn:aws:iam::111122223333:role/admin by name"},
		{"CreateRole", `{"roleName":"new"}`, `{"role":{"arn":"arn:aws:iam::111122223333:role/deep/new"}}`, "role new arn:aws:iam::111122223333:role/deep/new made"},
		{"GetFederationToken", `{"name":"x"}`, `{"credentials":{"accessKeyId":"ASIAX"},"federatedUser":{"arn":"arn:aws:sts::111122223333:federated-user/x"}}`, "access-key ASIAX arn:aws:iam::111122223333:user/team/alice made"},
		{"UpdateFunctionCode20150331v2", `{"functionName":"arn:aws:lambda:eu-west-1:111122223333:function:thumbs"}`, `{"role":"arn:aws:iam::111122223333:role/fn"}`, "function thumbs arn:aws:iam::111122223333:role/fn"},
		{"RunInstances", `{"iamInstanceProfile":{"arn":"arn:p"}}`, `{"instancesSet":{"items":[{"instanceId":"i-1"},{"instanceId":"i-2"},7]}}`, "instance i-1 arn:p made; instance i-2 arn:p made"},
		{"RunInstances", `{}`, `{"instancesSet":{"items":[` + strings.Repeat(`{},`, maxGains) + strings.Repeat(`{"instanceId":"i-1"},`, maxGains) + `{"instanceId":"i-2"}]}}`, strings.Repeat("instance i-1  made; ", maxGains) + "untold: it gave more than 1024 identities"},
		{"SendCommand", `{"instanceIds":["i-1",5,"mi-2"]}`, `null`, "instance i-1 ; untold: not all of its targets are named as EC2 instances"},
		{"StartSession", `{"target":"i-7"}`, `null`, "instance i-7 "},
		{"DescribeInstances", `{"userName":"bob"}`, `{"credentials":{"accessKeyId":"ASIAX"}}`, ""},
	} {
		e, err := Parse([]byte(strings.NewReplacer("CreateAccessKey", c.name, `"requestParameters":null`, `"requestParameters":`+c.request, `{"accessKey":{"accessKeyId":"AKIATWO","userName":"alice"}}`, c.answer).Replace(madeKey)))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range e.Gains {
			text := g.Kind + " " + g.ID + " " + g.Owner
			if g.Made {
				text += " made"
			}
			if g.NoPath {
				text += " by name"
			}
			got = append(got, text)
		}
		if e.Untold != "" {
			got = append(got, "untold: "+e.Untold)
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s: %q, want %q", c.name, s, c.want)
		}
	}
}

func TestClasses(t *testing.T) {
	for name, want := range map[string]Class{"StopLogging": Hides, "UpdateFunctionCode20150331v2": Persists, "DeleteAnything": Destroys, "GetSecretValue": Takes, "AssumeRole": Moves, "RunInstances": Spends, "TagUser": Changes, "ListUsers": Reads} {
		e := Event{Name: name, ReadOnly: reads(name)}
		if got := classOf(&e); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	seen := map[string]int{}
	for _, c := range Classes {
		if c.Meaning() == "" {
			t.Errorf("%s has no meaning", c)
		}
	}
	for name := range classes {
		seen[strings.ToLower(name)]++
	}
	for name, n := range seen {
		if n > 1 {
			t.Errorf("%s is there %d times", name, n)
		}
	}
}

// FuzzParse: whatever an event holds, what is kept of it is bounded, and text.
func FuzzParse(f *testing.F) {
	f.Add([]byte(madeKey))
	f.Add([]byte(`{"eventTime":"2026-11-22T02:59:00Z","eventName":"RunInstances","requestParameters":{"roleArn":7},"responseElements":{"instancesSet":{"items":[{"instanceId":"i-1"},[]]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse(data)
		if err != nil {
			return
		}
		e.Key()
		e.Denied()
		if len(e.Gains) > maxGains || len(e.About) > maxAbout {
			t.Fatalf("%d gains, about %d", len(e.Gains), len(e.About))
		}
		texts := append([]string{e.ID, e.Name, e.Service, e.Region, e.Account, e.Address, e.Agent, e.Error, e.Message, e.By.ARN, e.By.Key}, e.About...)
		for _, g := range e.Gains {
			texts = append(texts, g.ID)
		}
		for _, s := range texts {
			if len(s) > maxText+3 || !utf8.ValidString(s) {
				t.Fatalf("%d bytes, valid %v", len(s), utf8.ValidString(s))
			}
		}
		if _, err := json.Marshal(e); err != nil {
			t.Fatal(err)
		}
	})
}

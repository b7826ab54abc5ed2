package containment_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/containment"
)

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want containment.Target
		arn  string
	}{
		{"arn:aws:ec2:eu-west-1:111122223333:instance/i-0123456789abcdef0",
			containment.Target{Kind: containment.Instance, Partition: "aws", Region: "eu-west-1", Account: "111122223333", Name: "i-0123456789abcdef0"}, ""},
		{"arn:aws-cn:ec2:cn-north-1:111122223333:instance/i-01234567",
			containment.Target{Kind: containment.Instance, Partition: "aws-cn", Region: "cn-north-1", Account: "111122223333", Name: "i-01234567"}, ""},
		{"i-0123456789abcdef0", containment.Target{Kind: containment.Instance, Name: "i-0123456789abcdef0"}, "-"},
		{"arn:aws:iam::111122223333:user/team/red/alice",
			containment.Target{Kind: containment.User, Partition: "aws", Account: "111122223333", Path: "/team/red/", Name: "alice"}, ""},
		{"arn:aws-us-gov:iam::111122223333:role/web",
			containment.Target{Kind: containment.Role, Partition: "aws-us-gov", Account: "111122223333", Path: "/", Name: "web"}, ""},
		{"role/web", containment.Target{Kind: containment.Role, Name: "web"}, "-"},
		{"user/a/b", containment.Target{Kind: containment.User, Path: "/a/", Name: "b"}, "-"},
		{"arn:aws:lambda:eu-west-1:111122223333:function:thumbs",
			containment.Target{Kind: containment.Function, Partition: "aws", Region: "eu-west-1", Account: "111122223333", Name: "thumbs"}, ""},
		{"function/thumbs", containment.Target{Kind: containment.Function, Name: "thumbs"}, "-"},
		{"AKIAIOSFODNN7EXAMPLE", containment.Target{Kind: containment.AccessKey, Name: "AKIAIOSFODNN7EXAMPLE"}, "-"},
	} {
		got, err := containment.ParseTarget(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("%s: got %+v, %v", tt.in, got, err)
		}
		if tt.arn == "" && got.ARN() != tt.in {
			t.Errorf("%s comes back as %s", tt.in, got.ARN())
		}
		if again, err := containment.ParseTarget(got.Short()); err != nil || again.Name != got.Name || again.Kind != got.Kind {
			t.Errorf("%s: the short form %s is %+v, %v", tt.in, got.Short(), again, err)
		}
	}
}

func TestParseTargetRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":          "is no target",
		"web-1":     "is no target",
		"i-xyz":     "no instance id",
		"AKIA1":     "no access key id",
		"role/":     "no name of an IAM role",
		"arn:aws:x": "is no ARN",
		"arn:aws:ec2:eu-west-1:1234:instance/i-01234567":             "no account id",
		"arn:aws:ec2::111122223333:instance/i-01234567":              "no region",
		"arn:aws:ec2:cn-north-1:111122223333:instance/i-01234567":    "in the partition aws-cn",
		"arn:aws:ec2:eu-west-1:111122223333:volume/vol-01":           "expected instance/",
		"arn:aws:iam::111122223333:root":                             "root user",
		"arn:aws:iam::111122223333:group/admins":                     "\"group\" cannot",
		"arn:aws:iam:eu-west-1:111122223333:role/web":                "no region",
		"arn:aws:sts::111122223333:assumed-role/web/session":         "contain its role",
		"arn:aws:lambda:eu-west-1:111122223333:function:thumbs:live": "leave out \":live\"",
		"arn:aws:s3:::bucket":                                        "no account id",
		"arn:aws:rds:eu-west-1:111122223333:db:main":                 "nothing of the service",
		"arn:AWS:iam::111122223333:role/web":                         "no partition",
	} {
		if got, err := containment.ParseTarget(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %+v, %v; want an error with %q", in, got, err, want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("arn:aws:iam::111122223333:user/team/red/alice")
	f.Add("arn:aws:lambda:eu-west-1:111122223333:function:thumbs")
	f.Add("user/a//b")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := containment.ParseTarget(s)
		if err != nil {
			return
		}
		if strings.HasPrefix(s, "arn:") && got.ARN() != s {
			t.Errorf("%q comes back as %q", s, got.ARN())
		}
		if again, err := containment.ParseTarget(got.Short()); err != nil || again.Name != got.Name {
			t.Errorf("%q: the short form %q is %+v, %v", s, got.Short(), again, err)
		}
	})
}

func TestGuard(t *testing.T) {
	me := containment.Identity{
		ARN: "arn:aws:sts::111122223333:assumed-role/Responder/alice", Account: "111122223333", Instance: "i-0aaaaaaaaaaaaaaaa",
		Chain: []string{"arn:aws:iam::444455556666:user/team/alice"}, Assumes: []string{"arn:aws:iam:::role/ir/helper"}, Function: "lockdown",
	}
	g := containment.Guard{}
	for _, s := range []string{"user/breakglass", "i-0bbbbbbbbbbbbbbbb", "arn:aws:iam::111122223333:role/emergency/fire"} {
		b, err := containment.ParseTarget(s)
		if err != nil {
			t.Fatal(err)
		}
		g.BreakGlass = append(g.BreakGlass, b)
	}
	for s, refused := range map[string]bool{
		"arn:aws:iam::111122223333:role/ir/responder": true, // IAM knows no case, sessions no path
		"role/Responder": true,
		"arn:aws:iam::444455556666:role/Responder": false, // of another account
		"user/Responder": false,
		"arn:aws:iam::444455556666:user/team/alice":                       true,
		"i-0aaaaaaaaaaaaaaaa":                                             true,
		"arn:aws:ec2:eu-west-1:111122223333:instance/i-0bbbbbbbbbbbbbbbb": true,
		"arn:aws:ec2:eu-west-1:111122223333:instance/i-0cccccccccccccccc": false,
		"arn:aws:iam::777788889999:user/breakglass":                       true, // the list names no account: any
		"arn:aws:iam::777788889999:role/ir/helper":                        true, // in any account
		"arn:aws:lambda:eu-west-1:111122223333:function:lockdown":         true,
		"arn:aws:lambda:eu-west-1:444455556666:function:lockdown":         false,
		"role/fire": true,
		"role/web":  false,
	} {
		target, err := containment.ParseTarget(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Check(target, me); errors.Is(err, containment.ErrRefused) != refused {
			t.Errorf("%s: %v", s, err)
		}
	}
	// Without IMDS, such as in a container, the session's name tells.
	on := containment.Target{Kind: containment.Instance, Name: "i-0dddddddddddddddd"}
	session := "arn:aws:sts::111122223333:assumed-role/forensic/" + on.Name
	for _, who := range []containment.Identity{
		{ARN: session, Account: "111122223333"},
		{ARN: "arn:aws:sts::111122223333:assumed-role/Responder/alice", Account: "111122223333", Chain: []string{session}},
	} {
		if err := g.Check(on, who); !errors.Is(err, containment.ErrRefused) {
			t.Errorf("the instance of the session %+v: %v", who, err)
		}
		if err := g.Check(containment.Target{Kind: containment.Instance, Name: "i-0eeeeeeeeeeeeeeee"}, who); err != nil {
			t.Errorf("another instance than that of %+v: %v", who, err)
		}
	}
	for arn, want := range map[string]string{
		me.ARN:      "arn:aws:iam::111122223333:role/Responder",
		me.Chain[0]: me.Chain[0], // with its path
		"arn:aws-cn:sts::111122223333:assumed-role/web/i-0aaaaaaaaaaaaaaaa": "arn:aws-cn:iam::111122223333:role/web",
		"arn:aws:iam::111122223333:root":                                    "",
		"nonsense":                                                          "",
	} {
		if p, ok := containment.PrincipalOf(arn); ok != (want != "") || ok && p.ARN() != want {
			t.Errorf("%s is %s", arn, p)
		}
	}
	if err := g.Check(containment.Target{Kind: containment.Role, Name: "web"}, containment.Identity{ARN: "arn:aws:iam::111122223333:root", Account: "111122223333"}); !errors.Is(err, containment.ErrRefused) {
		t.Errorf("as root: %v", err)
	}
}

package hosts

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseSelector(t *testing.T) {
	for text, want := range map[string][]Term{
		"i-0123456789abcdef0":   {{Kind: ByInstance, Values: []string{"i-0123456789abcdef0"}}},
		"i-01234567|i-89abcdef": {{Kind: ByInstance, Values: []string{"i-01234567", "i-89abcdef"}}},
		"arn:aws-cn:ec2:cn-north-1:111122223333:instance/i-0123456789abcdef0":                         {{Kind: ByARN, Values: []string{"arn:aws-cn:ec2:cn-north-1:111122223333:instance/i-0123456789abcdef0"}}},
		"arn:aws:autoscaling:eu-west-1:111122223333:autoScalingGroup:0c0d-1:autoScalingGroupName/web": {{Kind: ByScaling, Values: []string{"web"}}},
		"arn:aws:iam::111122223333:instance-profile/a/b":                                              {{Kind: ByProfile, Values: []string{"arn:aws:iam::111122223333:instance-profile/a/b"}}},
		"10.0.0.1":                  {{Kind: ByAddress, Values: []string{"10.0.0.1"}}},
		"2001:DB8:0::7":             {{Kind: ByAddress, Values: []string{"2001:db8::7"}}},
		"::ffff:10.0.0.1":           {{Kind: ByAddress, Values: []string{"10.0.0.1"}}},
		"IP-10-0-0-1.ec2.internal.": {{Kind: ByDNS, Values: []string{"ip-10-0-0-1.ec2.internal"}}},
		"tag:Env=prod, !tag:Role=bastion|nat ,vpc-01234567": {
			{Kind: ByTag, Key: "Env", Values: []string{"prod"}}, {Kind: ByTag, Not: true, Key: "Role", Values: []string{"bastion", "nat"}}, {Kind: ByVPC, Values: []string{"vpc-01234567"}}},
		"tag:Quarantine":   {{Kind: ByTag, Key: "Quarantine"}},
		"tag:Empty=":       {{Kind: ByTag, Key: "Empty", Values: []string{""}}},
		"tag:aws:x=a=b":    {{Kind: ByTag, Key: "aws:x", Values: []string{"a=b"}}},
		`tag:a\=b=c\,d\|e`: {{Kind: ByTag, Key: "a=b", Values: []string{`c\,d\|e`}}},
		"asg:web-*":        {{Kind: ByScaling, Values: []string{"web-*"}}},
		"profile:web":      {{Kind: ByProfile, Values: []string{"web"}}},
		"subnet-01234567,sg-01234567,ami-01234567": {{Kind: BySubnet, Values: []string{"subnet-01234567"}}, {Kind: ByGroup, Values: []string{"sg-01234567"}}, {Kind: ByImage, Values: []string{"ami-01234567"}}},
	} {
		s, err := ParseSelector(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, s.Terms); diff != "" {
			t.Errorf("%s:\n%s", text, diff)
		}
	}
	for _, text := range []string{
		"", ",", "i-0123", "i-0123456789ABCDEF0", "web1", "tag:", "tag:=x", "asg:", "profile:a|", "!", "!i-01234567", "i-01234567|10.0.0.1", "i-01234567,,tag:a",
		"arn:aws:s3:::bucket", "arn:aws:ec2:eu-west-1:111122223333:volume/vol-01234567", "fe80::1%eth0", "tag:a=b\nc", "10.0.0.0/8", strings.Repeat("a", maxSelector+1),
	} {
		if s, err := ParseSelector(text); err == nil {
			t.Errorf("%q is read as %+v", text, s.Terms)
		}
	}
}

func TestLike(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"web-*", "web-1", true}, {"web-*", "web", false}, {"*", "", true}, {"we?b", "web", true}, {"we?b", "wexb", true}, {"we?b", "wexxb", false},
		{`a\*b`, "a*b", true}, {`a\*b`, "axb", false}, {`a\,b`, "a,b", true}, {`\`, `\`, true}, {"é?", "éé", true}, {"a.b", "axb", false}, {"a*", "a\nb", true},
	} {
		if got := like(c.pattern, c.s); got != c.want {
			t.Errorf("%q like %q: %v", c.s, c.pattern, got)
		}
	}
	if f := Filter(`a\,b\*c\|d\\e\?f*`); f != `a,b\*c|d\\e\?f*` {
		t.Error(f)
	}
}

func TestUserRules(t *testing.T) {
	for text, want := range map[string]UserRule{"ops": {"", "ops"}, "ami-01234567=root": {"ami-01234567", "root"}, "golden-*=ops": {"golden-*", "ops"}, "a=b=c": {"a=b", "c"}} {
		if r, err := ParseUserRule(text); err != nil || r != want {
			t.Errorf("%s: %+v, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "=ops", "ami-0=", "ami-0=-x", "a;b"} {
		if r, err := ParseUserRule(text); err == nil {
			t.Errorf("%q is read as %+v", text, r)
		}
	}
	r := UserRule{"golden-*", "ops"}
	if !r.For("ami-01234567", "golden-7") || r.For("ami-01234567", "") || !(UserRule{"ami-*", "x"}).For("ami-01234567", "") {
		t.Error("which images a rule is about")
	}
}

// What stands for instances is told from what is wrong, with its place.
func TestEC2Hosts(t *testing.T) {
	f := mustParse(t, `
defaults: {ec2_region: all, ec2_account: ["111122223333"], containment: {gate: always}}
hosts:
- ec2: tag:Env=prod
  ec2_region: [eu-west-1, us-east-1]
  ec2_address: private
  ec2_user: [golden-*=ops, admin]
  containment: {}
- ec2: [i-01234567, "10.0.0.1"]
- addr: a
`)
	h := f.Merged()
	if diff := cmp.Diff(Strings{"eu-west-1", "us-east-1"}, h[0].EC2Region); diff != "" {
		t.Error(diff)
	}
	if !h[0].Containment.There || h[1].Containment.There || h[0].Containment.Gate != "always" || h[1].EC2Region[0] != "all" || h[1].EC2Account[0] != "111122223333" {
		t.Errorf("%+v", h)
	}
	if s, err := h[1].Selectors(); err != nil || len(s) != 2 {
		t.Errorf("%v, %v", s, err)
	}
	for text, want := range map[string]string{
		"hosts:\n- ec2: web1":                             `2:8: hosts[0].ec2: "web1" selects nothing`,
		"hosts:\n- ec2: [i-01234567, '!tag:a']":           `2:21: hosts[0].ec2[1]: "!tag:a" only says`,
		"hosts:\n- ec2: i-01234567\n  addr: a":            `2:3: hosts[0]: addr and ec2 exclude each other`,
		"hosts:\n- name: a":                               `2:3: hosts[0] has no addr, and no ec2`,
		"hosts:\n- ec2: []":                               `2:3: hosts[0].ec2 selects nothing`,
		"hosts:\n- ec2: i-01234567\n- ec2: i-01234567":    `3:3: "i-01234567" is there twice, first in hosts[0] in line 2`,
		"hosts:\n- ec2: i-01234567\n  ec2_region: europe": `3:15: hosts[0].ec2_region: "europe" is not the name of a region`,
		"hosts:\n- ec2: i-01234567\n  ec2_account: '1'":   `3:16: hosts[0].ec2_account: "1" is not the 12 digits`,
		"hosts:\n- ec2: i-01234567\n  ec2_address: best":  `3:16: hosts[0].ec2_address: "best": want one of auto, private`,
		"hosts:\n- ec2: i-01234567\n  ec2_user: '=x'":     `3:13: hosts[0].ec2_user: "=x": want AMI=NAME`,
		"defaults: {ec2: tag:a}\nhosts:\n- addr: a":       `1:12: unknown key "ec2" in defaults`,
		"hosts:\n- addr: a\n  containment: {}":            `3:3: hosts[0].containment has no targets`,
	} {
		_, err := Parse("f", []byte(text), Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\nwant %s", text, err, want)
		}
	}
}

// FuzzParseSelector: no text makes it fail otherwise than by an error, and what is read can be asked of EC2.
func FuzzParseSelector(f *testing.F) {
	for _, s := range []string{"i-0123456789abcdef0", `tag:a\=b=c\,d\|e,!asg:web-*`, "10.0.0.1|::1", "profile:web", `tag:\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		sel, err := ParseSelector(s)
		if err != nil {
			return
		}
		for _, term := range sel.Terms {
			if term.Kind == "" || term.Kind == ByTag && term.Key == "" || term.Kind != ByTag && len(term.Values) == 0 {
				t.Fatalf("%q: %+v", s, term)
			}
			for _, v := range term.Values {
				Filter(v)
				term.Like(s)
			}
		}
	})
}

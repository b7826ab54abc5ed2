package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

var update = flag.Bool("update", false, "write the policy of docs/containment-policy.json into the templates")

var templates = []string{"templates/main.yaml", "templates/member.yaml"}

// policy is docs/containment-policy.json without hard cuts, which no message can ask for.
func policy(t *testing.T) (p awsfake.Policy, cuts []awsfake.Statement) {
	t.Helper()
	doc, err := os.ReadFile("../../docs/containment-policy.json")
	if err != nil {
		t.Fatal(err)
	}
	var all awsfake.Policy
	if err := json.Unmarshal(doc, &all); err != nil {
		t.Fatal(err)
	}
	p.Version = all.Version
	for _, s := range all.Statement {
		if strings.HasPrefix(s.Sid, "InstancesCut") {
			cuts = append(cuts, s)
		} else {
			p.Statement = append(p.Statement, s)
		}
	}
	return p, cuts
}

// text is a policy as the templates have it: JSON, which is YAML, one line for each part of a statement.
func text(t *testing.T, p awsfake.Policy) string {
	t.Helper()
	const in = "        "
	var b strings.Builder
	fmt.Fprintf(&b, "%s{\"Version\": %q, \"Statement\": [\n", in, p.Version)
	for i, s := range p.Statement {
		part := func(v any) string {
			j, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return strings.ReplaceAll(string(j), `","`, `", "`)
		}
		fmt.Fprintf(&b, "%s  {\"Sid\": %q, \"Effect\": %q,\n%s   \"Action\": %s,\n%s   \"Resource\": %s", in, s.Sid, s.Effect, in, part(s.Action), in, part(s.Resource))
		if s.Condition != nil {
			fmt.Fprintf(&b, ",\n%s   \"Condition\": %s", in, part(s.Condition))
		}
		b.WriteString("}")
		if i < len(p.Statement)-1 {
			b.WriteString(",")
		}
		b.WriteString("\n")
	}
	return b.String() + in + "]}\n"
}

var generated = regexp.MustCompile(`(?s)( +# begin containment[^\n]*\n).*?( +# end containment\n)`)

// The policy for containment in both templates is that of the documents, which the services' own tests hold against the calls that
// they make.
func TestTemplatesHaveThePolicy(t *testing.T) {
	p, cuts := policy(t)
	if len(cuts) != 3 {
		t.Errorf("%d statements for hard cuts", len(cuts))
	}
	want := text(t, p)
	for _, name := range templates {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		whole := generated.ReplaceAllString(string(b), "${1}"+strings.ReplaceAll(want, "$", "$$")+"${2}")
		if *update {
			if err := os.WriteFile(name, []byte(whole), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if whole != string(b) {
			t.Errorf("%s: the policy is not that of docs/containment-policy.json: go test ./cmd/shotglass-lambda -update", name)
		}
		// And it is read as that.
		var read awsfake.Policy
		if err := json.Unmarshal(mustJSON(t, load(t, name).at("Resources", "Containment", "Properties", "PolicyDocument")), &read); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, read, cmp.Comparer(func(a, b json.RawMessage) bool {
			return strings.Join(strings.Fields(string(a)), "") == strings.Join(strings.Fields(string(b)), "")
		})); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if n := len(strings.Join(strings.Fields(string(mustJSON(t, read))), "")); n > 6144 {
			t.Errorf("%s: a managed policy has 6,144 characters, this %d", name, n)
		}
	}
}

// A template is one, read as YAML with the functions of CloudFormation written out.
type template map[string]any

func load(t *testing.T, name string) template {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	v := template{}
	if err := yaml.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

func (v template) at(path ...string) any {
	var at any = map[string]any(v)
	for _, p := range path {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[p]
	}
	return at
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// resolved is a value with the functions of CloudFormation replaced by what they would come to.
func resolved(t *testing.T, v any, names map[string]string) any {
	t.Helper()
	name := func(s string) string {
		got, ok := names[s]
		if !ok {
			t.Errorf("what is ${%s}?", s)
		}
		return got
	}
	switch v := v.(type) {
	case []any:
		var out []any
		for _, x := range v {
			out = append(out, resolved(t, x, names))
		}
		return out
	case map[string]any:
		if s, ok := v["Ref"].(string); ok {
			return name(s)
		}
		if s, ok := v["Fn::Sub"].(string); ok {
			return regexp.MustCompile(`\$\{([^}]*)\}`).ReplaceAllStringFunc(s, func(m string) string { return name(m[2 : len(m)-1]) })
		}
		if l, ok := v["Fn::GetAtt"].([]any); ok {
			return name(fmt.Sprintf("%s.%s", l[0], l[1]))
		}
		out := map[string]any{}
		for k, x := range v {
			out[k] = resolved(t, x, names)
		}
		return out
	}
	return v
}

// deployed is what the names in the template come to in the tests' account.
var deployed = map[string]string{
	"AWS::Partition": "aws", "AWS::StackName": "lockdown", "JournalBucket": "evidence", "JournalPrefix": "lockdown/", "RoleName": "shotglass-lockdown", "MemberRoleName": "shotglass-lockdown-member",
	"Audit": "arn:aws:sns:eu-west-1:" + account + ":audit", "Log.Arn": "arn:aws:logs:eu-west-1:" + account + ":log-group:/aws/lambda/lockdown:*",
	"DeadLetters.Arn": "arn:aws:sqs:eu-west-1:" + account + ":dead-letters", "Containment": "arn:aws:iam::" + account + ":policy/containment",
	"ExternalIdSha256": strings.Repeat("a", 64), "MemberExternalId": roleID, "MemberAccounts": member, "BreakGlass": "", "Forensic": "", "QuarantineTag": "",
}

// TestRolePolicies runs the function with what its role may do in the template, and nothing else.
func TestRolePolicies(t *testing.T) {
	t.Parallel()
	v := load(t, templates[0])
	var own awsfake.Policy
	if err := json.Unmarshal(mustJSON(t, resolved(t, v.at("Resources", "Role", "Properties", "Policies").([]any)[0].(map[string]any)["PolicyDocument"], deployed)), &own); err != nil {
		t.Fatal(err)
	}
	all, _ := policy(t)
	all.Statement = append(all.Statement, own.Statement...)
	w := newWorld(t)
	if err := w.cloud.Restrict(self, mustJSON(t, all)); err != nil {
		t.Fatal(err)
	}
	before := w.state()
	for _, arn := range []string{w.hostARN(), w.alice.ARN, w.web.ARN, w.thumb.ARN, w.bob.ARN, w.key.ID} {
		w.want(w.ask("m-1", arn), "", "")
		if r := w.last(); len(r.Missing) > 0 {
			t.Errorf("%s: missing %v", arn, r.Missing)
		}
		w.cloud.Sleep(t.Context(), time.Minute) //nolint:errcheck // virtual
		w.want(w.ask("m-2", arn, "Action", "release"), "", "")
	}
	if w.state() != before {
		t.Error("not as before")
	}
	for _, c := range w.cloud.Calls() {
		if strings.Contains(c.Error, "not authorized") {
			t.Errorf("%s on %v: %s", c.Action, c.Resources, c.Error)
		}
	}
	if own.Allows("sts:AssumeRole", "arn:aws:iam::"+member+":role/admin") || own.Allows("s3:PutObject", "arn:aws:s3:::evidence/case-42/x") || own.Allows("s3:DeleteObject", "arn:aws:s3:::evidence/lockdown/x") {
		t.Error("the role may do more than it needs")
	}
}

// The template sets what the function reads, and leaves it time to stop.
func TestTemplateEnvironment(t *testing.T) {
	v := load(t, templates[0])
	properties := v.at("Resources", "Function", "Properties").(map[string]any)
	set := resolved(t, properties["Environment"].(map[string]any)["Variables"], deployed).(map[string]any)
	known := []string{envSecret, envAudit, envJournal, envRole, envRoleID, envAccounts, envGlass, envForensic, envTag, envUntrack, envWatch}
	for name := range set {
		if !slices.Contains(known, name) {
			t.Errorf("%s is not known to the function", name)
		}
	}
	s, err := readSettings(func(name string) string { s, _ := set[name].(string); return s })
	if err != nil {
		t.Fatal(err)
	}
	if s.journal != "s3://evidence/lockdown/" || len(s.accounts) != 1 || s.role != "shotglass-lockdown-member" {
		t.Errorf("%+v", s)
	}
	if n := time.Duration(fmtInt(t, properties["Timeout"])) * time.Second; n < margin+75*time.Second+s.watch+2*time.Minute || n > 15*time.Minute {
		t.Errorf("timeout %s", n)
	}
	if v.at("Resources", "Function", "Properties", "DeadLetterConfig") == nil || v.at("Resources", "Subscription", "Properties", "RedrivePolicy") == nil {
		t.Error("no dead-letter queue")
	}
	trust := load(t, templates[1]).at("Resources", "Role", "Properties", "AssumeRolePolicyDocument", "Statement").([]any)[0].(map[string]any)
	if got := string(mustJSON(t, trust["Condition"])); got != `{"StringEquals":{"sts:ExternalId":{"Ref":"ExternalId"}}}` {
		t.Errorf("trust of the member's role: %s", got)
	}
}

func fmtInt(t *testing.T, v any) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(fmt.Sprint(v), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

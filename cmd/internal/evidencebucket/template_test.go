package evidencebucket

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// The template makes the policies that create makes.
func TestTemplatePolicies(t *testing.T) {
	var doc struct {
		Resources map[string]struct {
			Properties map[string]any `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	if err := yaml.Unmarshal([]byte(Template), &doc); err != nil {
		t.Fatal(err)
	}
	glass := []string{"arn:aws:iam::111122223333:role/a", "arn:aws:iam::111122223333:role/b"}
	var resolve func(v any) any
	resolve = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["Ref"]; ok && len(v) == 1 {
				return map[string]any{"BreakGlass": glass, "AWS::AccountId": "111122223333"}[ref.(string)]
			}
			if sub, ok := v["Fn::Sub"]; ok {
				return strings.NewReplacer("${AWS::Partition}", "aws", "${AWS::AccountId}", "111122223333", "${BucketName}", "evidence").Replace(sub.(string))
			}
			out := map[string]any{}
			for k, x := range v {
				out[k] = resolve(x)
			}
			return out
		case []any:
			out := []any{}
			for _, x := range v {
				out = append(out, resolve(x))
			}
			return out
		}
		return v
	}
	statements := func(resource, property string) (list []string) {
		b, err := json.Marshal(resolve(doc.Resources[resource].Properties[property]))
		if err != nil {
			t.Fatal(err)
		}
		d, err := parsePolicy(string(b))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range d.statements() {
			list = append(list, text(s))
		}
		if len(list) != len(d.Statement) {
			t.Errorf("%s: %d of %d statements", resource, len(list), len(d.Statement))
		}
		return list
	}
	made := func(list []statement) (texts []string) {
		for _, s := range list {
			s.Action = slices.Clone(s.Action)
			texts = append(texts, text(s))
		}
		return texts
	}
	bucket, logs := Place{Bucket: "evidence"}, Place{Bucket: "evidence-logs"}
	if diff := cmp.Diff(made(wanted(bucket, "aws", glass)), statements("EvidencePolicy", "PolicyDocument")); diff != "" {
		t.Errorf("the evidence's policy (-create +template):\n%s", diff)
	}
	if diff := cmp.Diff(made(forLogs(logs, bucket, "aws", "111122223333", glass)), statements("LogsPolicy", "PolicyDocument")); diff != "" {
		t.Errorf("the logs' policy:\n%s", diff)
	}
	if diff := cmp.Diff(made(keyPolicy("aws", "111122223333", glass)["Statement"].([]statement)), statements("Key", "KeyPolicy")); diff != "" {
		t.Errorf("the key's policy:\n%s", diff)
	}
	for _, r := range []string{"Evidence", "Logs"} {
		p := doc.Resources[r].Properties
		if !reflect.DeepEqual(p["VersioningConfiguration"], map[string]any{"Status": "Enabled"}) || len(p["PublicAccessBlockConfiguration"].(map[string]any)) != 4 {
			t.Errorf("%s: %v", r, p)
		}
	}
}

// A policy is read in each way that AWS takes it.
func TestParsePolicy(t *testing.T) {
	for in, want := range map[string]int{
		`{"Statement":{"Effect":"Deny"}}`:                      1,
		`{"Statement":[{"Effect":"Deny"},{"Action":{"x":1}}]}`: 2, // what is not understood stays
		`{"Statement":[]}`:                                     0,
	} {
		d, err := parsePolicy(in)
		if err != nil || len(d.Statement) != want {
			t.Errorf("%s: %v, %v", in, d, err)
		}
	}
	for _, in := range []string{``, `{`, `{"Statement":"x"}`, `[]`, `{}`} {
		if d, err := parsePolicy(in); err == nil {
			t.Errorf("%s: %v", in, d)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"AWS":["*"]},"Action":["s3:*"],"Resource":"*","Condition":{"Bool":{"aws:SecureTransport":false}}}]}`)
	f.Fuzz(func(t *testing.T, in string) {
		d, err := parsePolicy(in)
		if err != nil {
			return
		}
		p := Place{Bucket: "evidence"}
		p.judgePolicy(&settings{policy: got[document]{v: d}}, "aws")
		m, err := d.with(wanted(p, "aws", []string{"arn:aws:iam::111122223333:role/a"}))
		if err != nil {
			t.Fatal(err)
		}
		if len(m.policy.Statement) != len(d.Statement)+len(m.added) {
			t.Errorf("%d statements and %d added are %d", len(d.Statement), len(m.added), len(m.policy.Statement))
		}
	})
}

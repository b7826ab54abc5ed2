package awsfake

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// RestrictTo lets who do only what the policy in a file allows, from now on. exact compares the calls made since, or since the last Reset,
// with the statements whose Sid begins with part: t fails for what they do not allow and for what none needed, but for the statements called optional.
func (c *Cloud) RestrictTo(t testing.TB, file string, who ...string) (exact func(part string, optional ...string)) {
	t.Helper()
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var p Policy
	if err := json.Unmarshal(doc, &p); err != nil {
		t.Fatal(err)
	}
	for _, arn := range who {
		if err := c.Restrict(arn, doc); err != nil {
			t.Fatal(err)
		}
	}
	return func(part string, optional ...string) {
		t.Helper()
		missing, unused := p.Sum(part, c.Calls())
		unused = slices.DeleteFunc(unused, func(s string) bool { // SID: ACTION
			return slices.ContainsFunc(optional, func(sid string) bool { return strings.HasPrefix(s, sid) })
		})
		if len(missing) > 0 {
			t.Errorf("%s does not allow: %s", file, strings.Join(missing, ", "))
		}
		if len(unused) > 0 {
			t.Errorf("%s allows what is not needed: %s", file, strings.Join(unused, ", "))
		}
	}
}

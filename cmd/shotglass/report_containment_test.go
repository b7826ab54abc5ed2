package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire"
	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/awsaccess"
	"github.com/shotglass-ir/shotglass/containment"
)

// page makes the report of what was captured, and returns it without markup's escapes of quotes.
func (c *cloudTest) page(want int, args ...string) string {
	c.Helper()
	out, _ := c.run(want, append([]string{"report"}, args...)...)
	return strings.NewReplacer("&#39;", "'", "&#34;", `"`, "&#43;", "+").Replace(out)
}

// The page has the record of a containment beside the image whose manifest it names, with what vouches for it.
func TestReportContainment(t *testing.T) {
	c := newCloudTest(t)
	c.manifest = &acquire.Manifest{Reasons: []string{"cut short"}}
	c.manifest.Target.Host = "web-1"
	c.follow(t.Context(), hostsfile.Containment{Mode: "deny", Gate: "always"}, acquire.StatePartial)
	record, signers := c.out+"/web-1-mem.lime.zst.containment", c.out+"/signers"
	const release = "shotglass release --case case-42 --journal "
	for _, place := range []string{c.out, strings.TrimSuffix(record, ".containment") + ".json"} {
		c.has("the page", c.page(exitPartial, "--signers", signers, place), "contained: every change reads back as it was made", "deny the role web everything, by the inline policy",
			release+c.dir+" arn:aws:iam::111122223333:role/service/web", "chained-roles", "Every record is signed", "shotglass status", "-n "+containmentNamespace)
	}
	// Nobody trusted vouches for it: no command to paste.
	if p := c.page(exitMismatch, c.out); strings.Contains(p, "shotglass release") || !strings.Contains(p, "is not an allowed signer") {
		t.Error("a command is shown that nobody vouches for, or nothing says who signed")
	}
	data, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(record, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(bytes.Replace(data, []byte(`"outcome": "held"`), []byte(`"outcome": "free"`), 1))
	p := c.page(exitMismatch, "--signers", signers, c.out)
	c.has("the page", p, "nothing of what follows is vouched for", "not all contained")
	if strings.Contains(p, "shotglass release") {
		t.Error("a command is shown of a record with a bad signature")
	}
	for _, broken := range []string{"{", `{"v":2}`, `{"v":1,"results":[null]}`} {
		write([]byte(broken))
		c.has("the page", c.page(exitMismatch, "--signers", signers, c.out), "could not be used: "+filepath.Base(record))
	}
}

// A containment that the gate withheld, though credentials were locked: what stays locked, and both commands.
func TestReportWithheld(t *testing.T) {
	c := newCloudTest(t)
	c.manifest = &acquire.Manifest{Reasons: []string{"cut short"}}
	yes := true
	c.follow(t.Context(), hostsfile.Containment{Mode: "deny", LockFirst: &yes, BreakGlass: []string{"user/emergency"}}, acquire.StatePartial)
	c.has("the page", c.page(exitPartial, "--signers", c.out+"/signers", c.out), "NOT CONTAINED: the image is partial, and the gate is complete", "credentials REMAIN LOCKED",
		"shotglass contain --case case-42", "--mode deny", "shotglass release --case case-42", "--break-glass user/emergency arn:", "done before the capture alone")
}

// The commands on the page reach the account as the capture did, but for the external id, which is not told.
func TestReportAccess(t *testing.T) {
	role, err := containment.ParseTarget("role/web")
	if err != nil {
		t.Fatal(err)
	}
	glass, err := containment.ParseTarget("user/emergency")
	if err != nil {
		t.Fatal(err)
	}
	a := awsAccess{Access: awsaccess.Access{Profile: "ir", Role: "responder", ExternalID: "the-id", Endpoint: "http://127.0.0.1:1", SourceIdentity: "alice", BreakGlass: []containment.Target{glass}}}
	rec := &containmentRecord{Case: "c", Withheld: "x", Early: []*containment.Result{{Target: role}}, Plans: []*containment.Plan{{Target: role}}, AWS: a.recorded()}
	v := recordView(rec)
	const flags = "--case c --aws-profile ir --aws-endpoint http://127.0.0.1:1 --aws-role responder --aws-source-identity alice --aws-external-id ID "
	if want := "shotglass contain " + flags + "--break-glass user/emergency role/web"; v.Contain != want {
		t.Errorf("%s\nwant %s", v.Contain, want)
	}
	if want := "shotglass release " + flags + "role/web"; v.Release != want {
		t.Errorf("%s\nwant %s", v.Release, want)
	}
	if b, err := json.Marshal(rec); err != nil || bytes.Contains(b, []byte("the-id")) {
		t.Errorf("%v: %s", err, b)
	}
}

// Nothing that a record can hold makes the report, or verify, fall over.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"v":1,"host":"web-1","withheld":"x","before_capture":[{"target":{"kind":"role","name":"web"},"changes":[{"kind":"iam/role-policy","id":"web/x","stage":"lock","status":"holds","found":{"a":1}}]}],
		"plans":[{"target":{"kind":"role","name":"web"},"changes":[{"kind":"iam/role-policy","id":"web/x","keep":"k"}]}],"results":[{"outcome":"held","residuals":[{"path":"p"}]}],"errors":["e"]}`))
	f.Add([]byte(`{"v":1,"plans":[null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := parseRecord(data)
		if err != nil {
			return
		}
		r := recordView(rec)
		if r.State == "contained" && (len(rec.Errors) > 0 || rec.Withheld != "" || len(rec.Results) < len(rec.Plans)) {
			t.Errorf("%s: contained", data)
		}
	})
}

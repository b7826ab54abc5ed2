package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const lockdownSecret = "correct-horse-battery-staple"

// published is what reaches a server in place of SNS.
type published struct {
	mu    sync.Mutex
	forms []url.Values
	auth  []string
	fails string // for messages that have it: refused
}

func (p *published) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := r.ParseForm(); err != nil {
		panic(err)
	}
	p.forms = append(p.forms, r.Form)
	p.auth = append(p.auth, r.Header.Get("Authorization"))
	if p.fails != "" && strings.Contains(r.Form.Encode(), url.QueryEscape(p.fails)) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code><Message>not authorized to perform: SNS:Publish</Message></Error></ErrorResponse>`)
		return
	}
	fmt.Fprintf(w, `<PublishResponse><PublishResult><MessageId>message-%d</MessageId></PublishResult></PublishResponse>`, len(p.forms))
}

// attributes are those of the n-th message.
func (p *published) attributes(n int) map[string]string {
	f, m := p.forms[n], map[string]string{}
	for i := 1; f.Has(fmt.Sprintf("MessageAttributes.entry.%d.Name", i)); i++ {
		at := fmt.Sprintf("MessageAttributes.entry.%d.", i)
		m[f.Get(at+"Name")] = f.Get(at+"Value.DataType") + " " + f.Get(at+"Value.StringValue")
	}
	return m
}

func TestLockdown(t *testing.T) {
	sns := &published{}
	server := httptest.NewServer(sns)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(file, []byte(lockdownSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"SHOTGLASS_AWS_ENDPOINT": server.URL, "SHOTGLASS_LOCKDOWN_TOPIC": "arn:aws:sns:eu-west-1:111122223333:lockdown",
	} {
		t.Setenv(k, v)
	}
	run := func(want int, args ...string) (string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"shotglass", "lockdown"}, args...), strings.NewReader(""), &out, &errs); code != want {
			t.Errorf("%q: exit code %d, want %d\n%s%s", args, code, want, &out, &errs)
		}
		if strings.Contains(out.String()+errs.String(), lockdownSecret) {
			t.Errorf("%q: the external id was told:\n%s%s", args, &out, &errs)
		}
		return out.String(), errs.String()
	}
	const alice, web = "arn:aws:iam::111122223333:user/team/alice", "arn:aws:iam::111122223333:role/web"

	out, errs := run(exitOK, "--external-id-file", file, "--yes", "--case", "2026-042", alice, "AKIAIOSFODNN7EXAMPLE")
	if out != alice+"\tmessage-1\nAKIAIOSFODNN7EXAMPLE\tmessage-2\n" || !strings.Contains(errs, "being asked for is not being contained") {
		t.Errorf("%s%s", out, errs)
	}
	if got := fmt.Sprint(sns.attributes(0)); got != "map[Action:String contain Arn:String "+alice+" CaseId:String 2026-042 ExternalId:String "+lockdownSecret+"]" {
		t.Error(got)
	}
	if f := sns.forms[0]; f.Get("TopicArn") != "arn:aws:sns:eu-west-1:111122223333:lockdown" || strings.Contains(f.Get("Message")+f.Get("Subject"), lockdownSecret) || !strings.Contains(sns.auth[0], "/eu-west-1/sns/") {
		t.Errorf("%v %s", f, sns.auth[0])
	}
	t.Setenv("SHOTGLASS_LOCKDOWN_EXTERNAL_ID", lockdownSecret)
	out, _ = run(exitOK, "--json", "--action", "release", "--dry-run", web) // no question: nothing is changed
	if !strings.Contains(out, `{"v":1,"message_type":"lockdown","name":"`+web+`","action":"release","case":"lockdown","dry_run":true,"topic":"arn:aws:sns:eu-west-1:111122223333:lockdown","message_id":"message-3"}`) {
		t.Error(out)
	}
	if got := sns.attributes(2); got["DryRun"] != "String true" || got["Action"] != "String release" {
		t.Error(got)
	}

	t.Setenv("SHOTGLASS_LOCKDOWN_EXTERNAL_ID", lockdownSecret)
	sns.fails = "role/web"
	out, errs = run(exitFailed, "--yes", web, alice)
	if !strings.Contains(errs, web+": not asked for") || !strings.Contains(errs, "permission missing") || !strings.HasPrefix(out, alice+"\t") {
		t.Errorf("%s%s", out, errs)
	}

	n := len(sns.forms)
	for _, tt := range []struct {
		want string
		id   string
		args []string
	}{
		{"no target", lockdownSecret, []string{"--yes"}},
		{"no external id", "", []string{"--yes", web}},
		{"9 to 1224", "short", []string{"--yes", web}},
		{"the first line", lockdownSecret, []string{"--external-id-file", os.DevNull, "--yes", web}},
		{"a short form", lockdownSecret, []string{"--yes", "role/web"}},
		{"named twice", lockdownSecret, []string{"--yes", web, web}},
		{"is none of", lockdownSecret, []string{"--yes", "--action", "destroy", web}},
		{"id of a case", lockdownSecret, []string{"--yes", "--case", "a/b", web}},
		{"not the ARN of an SNS topic", lockdownSecret, []string{"--yes", "--topic", "lockdown", web}},
		{"FIFO", lockdownSecret, []string{"--yes", "--topic", "arn:aws:sns:eu-west-1:111122223333:lockdown.fifo", web}},
		{"exclude each other", lockdownSecret, []string{"--yes", "--ask-external-id", "--external-id-file", file, web}},
	} {
		t.Setenv("SHOTGLASS_LOCKDOWN_EXTERNAL_ID", tt.id)
		if _, errs := run(exitUsage, tt.args...); !strings.Contains(errs, tt.want) {
			t.Errorf("%q: %s", tt.args, errs)
		}
	}
	if len(sns.forms) != n {
		t.Error("something was published")
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/cmd/shotglass/notify"
)

// TestNotify: the start, each host and the end are told, signed; what failed is told here, and is in the
// audit log; no secret is anywhere.
func TestNotify(t *testing.T) {
	var mu sync.Mutex
	var got []notify.Message
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m notify.Message
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &m); err != nil || r.Header.Get(notify.SignatureHeader) == "" {
			t.Errorf("%s: %v", body, err)
		}
		mu.Lock()
		got = append(got, m)
		mu.Unlock()
		if strings.HasPrefix(r.URL.Path, "/gone/") {
			w.WriteHeader(http.StatusGone)
		}
	}))
	defer srv.Close()
	dir := t.TempDir()
	t.Setenv("SHOTGLASS_NOTIFY_SECRET", "hunter2")
	run1 := func(more ...string) (code int, stderr string) {
		var out, errs bytes.Buffer
		args := append([]string{"shotglass", "capture", "--unsigned", "--case", "2026-042", "--ssh-config", "none", "--proxy-command", "exit 1", "--output", dir}, more...)
		return run(t.Context(), args, strings.NewReader(""), &out, &errs), errs.String()
	}
	if code, stderr := run1("--notify", srv.URL+"/T0KEN", "web1", "web2"); code != exitFailed || strings.Contains(stderr, "not delivered") {
		t.Errorf("code %d: %s", code, stderr)
	}
	var events []string
	for _, m := range got {
		events = append(events, m.Event+" "+m.Host+" "+m.State)
		if m.Case != "2026-042" || m.Hosts != 2 || m.Run != got[0].Run || m.ID == "" {
			t.Errorf("%+v", m)
		}
	}
	if len(events) != 4 || events[0] != "start  " || !strings.HasPrefix(events[1], "host web") || events[3] != "end  " || got[3].Failed != 2 || *got[3].Code != exitFailed {
		t.Errorf("%q", events)
	}
	os.Setenv("SHOTGLASS_NOTIFY_SECRET", "hunter2") // it was taken out
	code, stderr := run1("--notify", srv.URL+"/gone/T0KEN", "web1")
	if code != exitFailed || !strings.Contains(stderr, "was not told of the start of the run: it answered 410") || !strings.Contains(stderr, "3 notifications were not delivered") {
		t.Errorf("code %d: %s", code, stderr)
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "*"+audit.Suffix))
	var all string
	for _, l := range logs {
		data, _ := os.ReadFile(l)
		all += string(data)
	}
	if strings.Count(all, `"event":"notified"`) != 7 || !strings.Contains(all, `"error":"it answered 410"`) {
		t.Errorf("the logs do not have the notifications:\n%s", all)
	}
	if strings.Contains(all+stderr, "T0KEN") || strings.Contains(all+stderr, "hunter2") {
		t.Error("a secret is on record")
	}
	for _, bad := range []string{"http://hooks.example.org/x", "arn:aws:sqs:r:1:q", "mail"} {
		os.Setenv("SHOTGLASS_NOTIFY_SECRET", "")
		if code, stderr := run1("--notify", bad, "web1"); code != exitUsage {
			t.Errorf("%s: code %d: %s", bad, code, stderr)
		}
	}
}

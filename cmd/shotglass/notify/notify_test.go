package notify

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// A server records what it gets, and answers with the codes in turn, then 200.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	got   []*http.Request
	body  []string
	codes []int
	hold  chan struct{} // not nil: answers wait for it
}

func newServer(t *testing.T, codes ...int) *server {
	s := &server{codes: codes}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.got, s.body = append(s.got, r), append(s.body, string(b))
		code := 200
		if len(s.codes) > 0 {
			code, s.codes = s.codes[0], s.codes[1:]
		}
		hold := s.hold
		s.mu.Unlock()
		if hold != nil {
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
		w.Header().Set("Location", "http://192.0.2.1/")
		w.WriteHeader(code)
		io.WriteString(w, "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>")
	}))
	t.Cleanup(s.Close)
	return s
}

var quick = []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}

// send sends messages to a target, and returns the errors.
func send(target Target, limit time.Duration, list ...Message) (errs []error, failed int) {
	s := New([]Target{target}, Options{Pauses: quick, Sent: func(_ string, _ Message, err error) { errs = append(errs, err) }})
	for _, m := range list {
		s.Send(m)
	}
	return errs, s.Close(limit)
}

func TestWebhook(t *testing.T) {
	srv := newServer(t, 503, 429)
	w, err := NewWebhook(srv.URL+"/services/T0KEN", []byte("secret"), false)
	if err != nil {
		t.Fatal(err)
	}
	w.now = func() time.Time { return time.Unix(1795330061, 0) }
	m := Message{ID: "run-1", Event: "host", Host: "web1", State: "complete", RawBytes: 5, Time: time.Unix(1, 0)}
	var failed int
	if _, failed = send(w, time.Minute, m); failed != 0 || len(srv.got) != 3 {
		t.Fatalf("%d failed after %d attempts", failed, len(srv.got))
	}
	r, body := srv.got[2], srv.body[2]
	// printf '1795330061.%s' BODY | openssl dgst -sha256 -hmac secret
	if want := sign([]byte("secret"), time.Unix(1795330061, 0), []byte(body)); r.Header.Get(SignatureHeader) != want || !strings.HasPrefix(want, "t=1795330061,v1=") {
		t.Errorf("signature %q, want %q", r.Header.Get(SignatureHeader), want)
	}
	if sign([]byte("secret"), time.Unix(1, 0), []byte("{}")) != "t=1,v1=1122767b193110cfec322b6f199b599edbf608ed087f2d27afb0b97d99523908" {
		t.Errorf("the signature is not that of openssl: %s", sign([]byte("secret"), time.Unix(1, 0), []byte("{}")))
	}
	if r.Header.Get("X-Shotglass-Delivery") != "run-1" || r.Header.Get("Content-Type") != "application/json" || r.Method != "POST" {
		t.Errorf("%v", r.Header)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil || got["v"] != 1.0 || got["message_type"] != "notification" || got["host"] != "web1" || got["time"] != "1970-01-01T00:00:01Z" {
		t.Errorf("%s: %v", body, err)
	}
	if strings.Contains(w.String(), "T0KEN") {
		t.Error("the name shows the path")
	}
}

func TestWebhookRefused(t *testing.T) {
	for _, code := range []int{400, 403, 404, 302} {
		srv := newServer(t, code)
		w, _ := NewWebhook(srv.URL+"/T0KEN", nil, false)
		errs, failed := send(w, time.Minute, Message{})
		if failed != 1 || len(srv.got) != 1 || errs[0] == nil || strings.Contains(errs[0].Error(), "T0KEN") {
			t.Errorf("%d: %d failed, %d attempts, %v", code, failed, len(srv.got), errs)
		}
		if srv.got[0].Header.Get(SignatureHeader) != "" {
			t.Error("signed without a secret")
		}
	}
}

// TestDead: a place that is down gets all attempts for the first message and for the end, one for each
// other, and no error shows the URL.
func TestDead(t *testing.T) {
	srv := newServer(t)
	srv.codes = make([]int, 100)
	for i := range srv.codes {
		srv.codes[i] = 500
	}
	w, _ := NewWebhook(srv.URL, nil, false)
	errs, failed := send(w, time.Minute, Message{Event: "start"}, Message{Event: "host"}, Message{Event: "host"}, Message{Event: "end"})
	if failed != 4 || len(errs) != 4 || len(srv.got) != 4+1+1+4 {
		t.Errorf("%d failed, %d attempts", failed, len(srv.got))
	}
	srv.Close()
	w, _ = NewWebhook(srv.URL+"/T0KEN", nil, false)
	if errs, _ := send(w, time.Minute, Message{}); errs[0] == nil || strings.Contains(errs[0].Error(), "T0KEN") {
		t.Error(errs)
	}
}

// TestLate: a place that does not answer does not keep the program from ending.
func TestLate(t *testing.T) {
	srv := newServer(t)
	srv.hold = make(chan struct{})
	defer close(srv.hold)
	w, _ := NewWebhook(srv.URL, nil, false)
	began := time.Now()
	errs, failed := send(w, 50*time.Millisecond, Message{}, Message{}, Message{})
	if failed != 3 || time.Since(began) > 5*time.Second {
		t.Errorf("%d failed after %s: %v", failed, time.Since(began), errs)
	}
}

func TestURLs(t *testing.T) {
	for raw, want := range map[string]string{
		"https://hooks.example.org/x": "", "http://127.0.0.1:8080/": "", "http://[::1]/": "", "http://localhost/x": "",
		"http://hooks.example.org/x": "without TLS", "http://127.0.0.1.example.org/": "without TLS", "ftp://x/": "not a URL of https", "https://me:pw@x/": "password", "https://": "not a URL", "://": "no valid URL",
	} {
		_, err := NewWebhook(raw, nil, false)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", raw, err)
		}
	}
	if _, err := NewWebhook("http://hooks.example.org/x", nil, true); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"arn:aws:sqs:eu-central-1:123456789012:x", "arn:aws:sns:eu-central-1:123456789012:x:sub", "arn:aws:sns::123456789012:x", "arn:"} {
		if CheckTopic(bad) == nil {
			t.Errorf("%s passes", bad)
		}
	}
}

func TestTopic(t *testing.T) {
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none"} {
		t.Setenv(k, v)
	}
	for _, tt := range []struct {
		arn   string
		codes []int
		tries int
		fails bool
	}{
		{"arn:aws:sns:eu-central-1:123456789012:cases", []int{500}, 2, false},
		{"arn:aws:sns:eu-central-1:123456789012:cases.fifo", nil, 1, false},
		{"arn:aws:sns:eu-central-1:123456789012:none", []int{404}, 1, true},
	} {
		srv := newServer(t, tt.codes...)
		t.Setenv("AWS_ENDPOINT_URL_SNS", srv.URL)
		topic, err := NewTopic(t.Context(), tt.arn, "")
		if err != nil {
			t.Fatal(err)
		}
		m := Message{ID: "r-7", Run: "r", Event: "end", Case: "2026-042", Text: "case \"ü\"\n" + strings.Repeat("x", 200)}
		_, failed := send(topic, time.Minute, m)
		if (failed == 1) != tt.fails || len(srv.got) != tt.tries {
			t.Fatalf("%s: %d failed, %d attempts", tt.arn, failed, len(srv.got))
		}
		form, err := url.ParseQuery(srv.body[len(srv.body)-1])
		if err != nil || form.Get("Action") != "Publish" || form.Get("TopicArn") != tt.arn || !strings.Contains(form.Get("Message"), `"id":"r-7"`) {
			t.Errorf("%v, %v", form, err)
		}
		s := form.Get("Subject")
		if len(s) >= 100 || !strings.HasPrefix(s, `shotglass: case "?"?xxx`) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("subject %q", s)
		}
		if fifo := strings.HasSuffix(tt.arn, ".fifo"); (form.Get("MessageGroupId") == "r") != fifo || (form.Get("MessageDeduplicationId") == "r-7") != fifo {
			t.Errorf("group %q, deduplication %q", form.Get("MessageGroupId"), form.Get("MessageDeduplicationId"))
		}
		if !strings.Contains(srv.got[0].Header.Get("Authorization"), "/eu-central-1/sns/") {
			t.Errorf("authorization %q", srv.got[0].Header.Get("Authorization"))
		}
	}
	topic := &Topic{}
	var final *permanent
	if err := topic.Send(context.Background(), Message{}, make([]byte, 256<<10)); !errors.As(err, &final) {
		t.Errorf("too long: %v", err)
	}
}

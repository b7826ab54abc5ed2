package report

import (
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire"
)

func held() Contained {
	return Contained{
		Target: "arn:aws:iam::111122223333:role/web", Outcome: "contained: every change reads back", Class: "good", Journal: "case-role_web-containment.jsonl", Head: strings.Repeat("ab", 32),
		Changes: []ContainedChange{{Status: "changed", Class: "good", What: "deny the role web everything", Note: "stays after a release: keys"}},
		Open:    []string{"chained-roles: sessions of other roles. look in CloudTrail"},
	}
}

// TestContainment: each record is with the capture whose manifest it names; what does not agree, or is signed by nobody known, shows.
func TestContainment(t *testing.T) {
	good := acquire.SignatureState{Present: true, Valid: true, Trusted: true, Principal: "investigator"}
	for _, tt := range []struct {
		name    string
		change  func(*Containment)
		verdict string
		says    []string
		not     string
	}{
		{"as recorded", func(*Containment) {}, acquire.VerdictOK,
			[]string{"Every record is signed", "deny the role web everything", "stays after a release: keys", "chained-roles", "1 of 1", "shotglass release --case c role/web", "Not tried on AWS", "case-role_web"}, "Needs attention"},
		{"withheld", func(r *Containment) {
			r.State, r.Class, r.Withheld, r.Remain, r.Contain = "not contained", "bad", "the image is partial", []string{"credentials REMAIN LOCKED"}, "shotglass contain role/web"
		}, acquire.VerdictOK, []string{"Needs attention", "NOT CONTAINED: the image is partial", "credentials REMAIN LOCKED", "shotglass contain role/web", "containment: not contained", "0 of 1"}, ""},
		{"undone by someone", func(r *Containment) {
			r.Targets[0].Class, r.Targets[0].Outcome, r.Targets[0].Tampering = "bad", "TAMPERED", 3
		}, acquire.VerdictOK, []string{"TAMPERED", "undid changes 3 times", "Needs attention"}, ""},
		{"an unknown signer", func(r *Containment) {
			r.Signature = acquire.SignatureState{Present: true, Valid: true, Fingerprint: "SHA256:x", Detail: "who"}
		}, acquire.VerdictUntrusted, []string{"who is not an allowed signer", "1 record is not signed by an allowed signer"}, "Every record is signed"},
		{"no signature", func(r *Containment) { r.Signature = acquire.SignatureState{} }, acquire.VerdictUntrusted, []string{"1 record is not signed by an allowed signer"}, "Every record is signed"},
		{"a bad signature", func(r *Containment) {
			r.Signature = acquire.SignatureState{Present: true, Detail: "bad signature"}
		}, acquire.VerdictMismatch, []string{"nothing of what follows is vouched for", "Something does not agree", "Needs attention"}, ""},
		{"another manifest", func(r *Containment) { r.Manifest = strings.Repeat("0", 64) }, acquire.VerdictMismatch, []string{"it names another manifest, with sha256 0000", "Something does not agree"}, ""},
		{"no manifest named", func(r *Containment) { r.Manifest = "" }, acquire.VerdictMismatch, []string{"it names no manifest, though there is one"}, ""},
		{"another place", func(r *Containment) { r.Place = "s3://elsewhere/" }, acquire.VerdictMismatch, []string{"Containment without an image here", "the manifest that it names is not here"}, ""},
		{"a host without an image", func(r *Containment) { r.Image, r.Manifest = "", "" }, acquire.VerdictOK, []string{"Containment without an image here"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			m := l.capture(1, nil)
			x := l.trusted().Captures[0]
			r := &Containment{
				Place: x.Place, File: m.Image.Name + ".containment", Host: x.host(), Image: m.Image.Name, Manifest: x.SHA256, SHA256: strings.Repeat("c", 64), Bytes: 1234, Written: epoch,
				Signature: good, Namespace: "containment@x", State: "contained", Class: "good", Targets: []Contained{held()}, Release: "shotglass release --case c role/web",
			}
			tt.change(r)
			c := l.load(Options{Signers: l.signers, SignersName: "signers", Containments: []*Containment{r}})
			page := render(t, c)
			check(t, page)
			want(t, page, tt.says...)
			want(t, page, "-n containment@x", strings.Repeat("c", 64))
			if tt.not != "" && strings.Contains(page, tt.not) {
				t.Errorf("the page says %q", tt.not)
			}
			if c.Verdict() != tt.verdict {
				t.Errorf("verdict %s, want %s", c.Verdict(), tt.verdict)
			}
		})
	}
}

// TestHostileContainment: what a record says is text, and has an end.
func TestHostileContainment(t *testing.T) {
	evil := "</pre></dl><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\x1b[2J{{.}}"
	l := newLab(t)
	l.capture(1, nil)
	r := &Containment{Host: evil, File: evil, SHA256: evil, Manifest: evil, Namespace: evil, State: evil, Class: evil, Withheld: evil, Remain: []string{evil}, Errors: []string{evil}, Release: evil, Contain: evil}
	for range 3 {
		x := Contained{Target: evil, Outcome: evil, Class: evil, Journal: evil, Head: evil}
		for range 9999 {
			x.Changes, x.Open = append(x.Changes, ContainedChange{Status: evil, Class: evil, What: evil, Note: evil}), append(x.Open, evil)
		}
		r.Targets = append(r.Targets, x)
	}
	page := render(t, l.load(Options{Signers: l.signers, Containments: []*Containment{r}}))
	check(t, page)
	for _, bad := range []string{"<script", "<img", "\x1b", "\u202e"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if len(page) > 2<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
}

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire"
	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/cmd/internal/awsaccess"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport"
)

// follow captures a host with containment of a role, as far as the containment sees a capture: planned, before, after. It returns the
// exit code, the story and the record.
func (c *cloudTest) follow(ctx context.Context, spec hostsfile.Containment, state acquire.State) (int, string, containmentRecord) {
	c.Helper()
	out := c.TempDir()
	c.out = out
	disk, err := sink.NewDisk(out)
	if err != nil {
		c.Fatal(err)
	}
	_, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		c.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		c.Fatal(err)
	}
	o := &captureOptions{Engine: acquire.Options{Case: "case-42", Sink: disk, Signer: signer, Tool: toolInfo()}}
	all := &followUps{o: o}
	spec.Targets = hostsfile.Strings{"role/web"}
	job := &acquire.Job{Target: transport.Target{Name: "web-1"}}
	if err := all.hook(job, spec, awsAccess{Access: awsaccess.Access{Journals: containment.Dir(c.dir)}, folder: c.dir}); err != nil {
		c.Fatal(err)
	}
	var story bytes.Buffer
	if err := all.plan(c.Context(), func(s string) { story.WriteString(s + "\n") }, nil); err != nil {
		c.Fatal(err)
	}
	job.Before(ctx)
	_, _, during := c.locked()
	if during != (spec.LockFirst != nil) {
		c.Errorf("locked during the capture: %v", during)
	}
	r := &acquire.Result{Host: "web-1", State: state, Manifest: out + "/m.json", ManifestDigest: acquire.Digest{Bytes: 3, SHA256: manifestSum}}
	r.Image.Name = "web-1-mem.lime.zst"
	if m := c.manifest; m != nil {
		m.Type, m.Version, m.Image.Name = acquire.ManifestType, acquire.ManifestVersion, r.Image.Name
		data, err := m.Marshal()
		if err != nil {
			c.Fatal(err)
		}
		sig, err := signature.SignIn(signature.Namespace, data, signer)
		if err != nil {
			c.Fatal(err)
		}
		sum := sha256.Sum256(data)
		r.Manifest, r.ManifestDigest = out+"/"+r.Image.Name+".json", acquire.Digest{Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
		if err := errors.Join(os.WriteFile(r.Manifest, data, 0o600), os.WriteFile(r.Manifest+".sig", sig, 0o600)); err != nil {
			c.Fatal(err)
		}
	}
	job.After(ctx, r)
	code, err := all.tell(newConsole(strings.NewReader(""), &story, &story))
	if err != nil {
		c.Fatal(err)
	}
	var rec containmentRecord
	data, err := os.ReadFile(out + "/web-1-mem.lime.zst.containment")
	if spec.Gate == "never" {
		if err == nil {
			c.Error("a record of nothing")
		}
		return code, story.String(), rec
	}
	if err != nil {
		c.Fatal(err)
	}
	sig, err := os.ReadFile(out + "/web-1-mem.lime.zst.containment.sig")
	if err != nil {
		c.Fatal(err)
	}
	signers := "alice " + string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
	if err := os.WriteFile(out+"/signers", []byte(signers), 0o600); err != nil {
		c.Fatal(err)
	}
	allowed, err := signature.ParseAllowedSigners(strings.NewReader(signers), "signers")
	if err != nil {
		c.Fatal(err)
	}
	if _, err := signature.VerifyIn(containmentNamespace, data, sig, allowed, time.Now()); err != nil {
		c.Error(err)
	}
	if err := json.Unmarshal(data, &rec); err != nil {
		c.Fatal(err)
	}
	return code, story.String(), rec
}

// manifestSum is the digest of "{}\n".
const manifestSum = "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356"

// verify checks records: who signed them, and whether the manifest is the one that they name.
func TestVerifyRecord(t *testing.T) {
	c := newCloudTest(t)
	c.follow(t.Context(), hostsfile.Containment{Mode: "deny"}, acquire.StateComplete)
	record, signers := c.out+"/web-1-mem.lime.zst.containment", c.out+"/signers"
	out, _ := c.run(exitOK, "verify", "--signers", signers, record)
	c.has("the verdict", out, "verified; manifest not beside it", "role/service/web: held")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(c.out+"/m.json", "{}\n")
	out, _ = c.run(exitOK, "verify", "--signers", signers, record)
	c.has("the verdict", out, "manifest as named")
	write(c.out+"/m.json", "{ }\n")
	_, errs := c.run(exitMismatch, "verify", "--signers", signers, record)
	c.has("the story", errs, "is not the one that it names")
	out, _ = c.run(exitMismatch, "verify", "--json", record) // nobody is trusted
	c.has("the verdict", out, `"message_type":"containment_verification"`)
	data, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	write(c.out+"/m.json", "{}\n")
	write(record, strings.Replace(string(data), `"outcome": "held"`, `"outcome": "free"`, 1))
	_, errs = c.run(exitMismatch, "verify", "--signers", signers, record)
	c.has("the story", errs, "bad signature")
	write(record, string(data))
	if err := os.Remove(record + ".sig"); err != nil {
		t.Fatal(err)
	}
	_, errs = c.run(exitMismatch, "verify", "--signers", signers, record)
	c.has("the story", errs, "there is no signature")
}

func TestFollowUp(t *testing.T) {
	yes := true
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name      string
		spec      hostsfile.Containment
		state     acquire.State
		ctx       context.Context
		code      int
		contained bool
		story     []string
	}{
		{"complete", hostsfile.Containment{Mode: "deny"}, acquire.StateComplete, t.Context(), exitOK, true, []string{"contained"}},
		{"partial", hostsfile.Containment{Mode: "deny"}, acquire.StatePartial, t.Context(), exitContainment, false,
			[]string{"NOT CONTAINED: web-1: role/web: the image is partial", "shotglass contain --case case-42 --journal ", "--mode deny role/web"}},
		{"partial, always", hostsfile.Containment{Mode: "deny", Gate: "always"}, acquire.StatePartial, t.Context(), exitOK, true, []string{"contained"}},
		{"failed, always", hostsfile.Containment{Mode: "deny", Gate: "always"}, acquire.StateFailed, t.Context(), exitOK, true, nil},
		{"never", hostsfile.Containment{Mode: "deny", Gate: "never"}, acquire.StateComplete, t.Context(), exitOK, false, nil},
		{"interrupted", hostsfile.Containment{Mode: "deny", Gate: "always"}, acquire.StatePartial, interrupted, exitContainment, false, []string{"the run was interrupted"}},
		{"locked first", hostsfile.Containment{Mode: "deny", LockFirst: &yes}, acquire.StateComplete, t.Context(), exitOK, true, nil},
		{"locked first, failed", hostsfile.Containment{Mode: "deny", LockFirst: &yes}, acquire.StateFailed, t.Context(), exitContainment, true,
			[]string{"REMAIN LOCKED", "shotglass release --case case-42 --journal "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloudTest(t)
			code, story, rec := c.follow(tt.ctx, tt.spec, tt.state)
			if code != tt.code {
				t.Errorf("exit code %d, want %d:\n%s", code, tt.code, story)
			}
			c.want(false, false, tt.contained)
			c.has("the story", story, tt.story...)
			if tt.spec.Gate == "never" {
				return
			}
			if rec.Manifest.SHA256 == "" || rec.State != tt.state || (rec.Withheld == "") != (len(rec.Results) == 1) || len(rec.Plans) != 1 {
				t.Errorf("%+v", rec)
			}
		})
	}
}

// A record of an earlier run stays; one of a kept image names its manifest by its digest.
func TestRecordOfKept(t *testing.T) {
	c := newCloudTest(t)
	disk, err := sink.NewDisk(c.dir + "/out")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := records.Put(t.Context(), disk, "m.json", []byte("{}\n")); err != nil {
		t.Fatal(err)
	}
	f := &followUp{all: &followUps{o: &captureOptions{Engine: acquire.Options{Sink: disk}}}, host: "web-1", job: &acquire.Job{}}
	r := &acquire.Result{State: acquire.StateComplete, Manifest: c.dir + "/out/m.json"}
	r.Image.Name = "web-1-mem.lime"
	for range 2 {
		if err := f.record(r); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(c.dir + "/out")
	if err != nil || len(files) != 3 {
		t.Errorf("%v, %v", files, err)
	}
	data, err := os.ReadFile(f.place)
	if err != nil || !strings.Contains(string(data), manifestSum) {
		t.Errorf("%s, %v", data, err)
	}
}

// What --require-all refuses is not contained either, and that is said.
func TestFollowUpRefused(t *testing.T) {
	c := newCloudTest(t)
	hosts := c.dir + "/hosts.yml"
	if err := os.WriteFile(hosts, []byte("hosts:\n- {addr: 127.0.0.1, port: 1, containment: {targets: role/web, gate: always}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs := c.run(exitFailed, "capture", "--unsigned", "--require-all", "--output", c.dir, "--progress", "none", "--connect-attempts", "1", "-c", hosts)
	c.has("the story", errs, "NOT CONTAINED: 127.0.0.1: role/web: the host was not captured", "--require-all")
	c.want(false, false, false)
}

// Without the permission nothing is captured, as it would turn out only after the capture.
func TestFollowUpDenied(t *testing.T) {
	c := newCloudTest(t)
	if err := c.cloud.Restrict(responderARN, []byte(`{"Statement":[{"Effect":"Allow","Action":["iam:Get*","iam:List*","iam:Simulate*","sts:*"],"Resource":"*"}]}`)); err != nil {
		t.Fatal(err)
	}
	hosts := c.dir + "/hosts.yml"
	if err := os.WriteFile(hosts, []byte("hosts:\n- {addr: 127.0.0.1, port: 1, containment: {targets: role/web}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs := c.run(exitUsage, "capture", "--unsigned", "--output", c.dir, "--progress", "none", "--connect-attempts", "1", "-c", hosts)
	c.has("the refusal", errs, "permissions are missing: iam:PutRolePolicy", "no memory was read")
	c.want(false, false, false)
	_, errs = c.run(exitUsage, "capture", "--unsigned", "--contain", "always", "127.0.0.1:1")
	c.has("the refusal", errs, "no host has targets")
}

// Hosts that begin with the same break-glass list do not write into each other's.
func TestBreakGlassOfHosts(t *testing.T) {
	base := awsAccess{}
	base.BreakGlass = append(make([]containment.Target, 0, 4), containment.Target{Kind: containment.Role, Name: "all"})
	all := &followUps{}
	for _, name := range []string{"role/one", "role/two"} {
		if err := all.hook(&acquire.Job{}, hostsfile.Containment{BreakGlass: []string{name}}, base); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"one", "two"} {
		if g := all.hosts[i].access.BreakGlass; len(g) != 2 || g[0].Name != "all" || g[1].Name != name {
			t.Errorf("%s: %v", name, g)
		}
	}
}

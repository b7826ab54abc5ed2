package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// A gatherTest is the cloud of fillCloud, a key that signs, and a folder for evidence.
type gatherTest struct {
	*cloudTest
	region       *awsfake.Region
	out, signers string
}

func newGatherTest(t *testing.T) *gatherTest {
	g := &gatherTest{cloudTest: &cloudTest{T: t, cloud: newEC2Test(t), dir: t.TempDir()}}
	g.region = g.cloud.Account("111122223333").Region("eu-west-1")
	g.out, g.signers = filepath.Join(g.dir, "out"), filepath.Join(g.dir, "signers")
	key := filepath.Join(g.dir, "sign")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pub, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.signers, append([]byte("alice "), pub...), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SHOTGLASS_SIGN_KEY", key)
	t.Setenv("SHOTGLASS_OUTPUT", g.out)
	t.Setenv("SHOTGLASS_CASE", "42")
	t.Setenv("XDG_STATE_HOME", filepath.Join(g.dir, "state"))
	return g
}

// files are those in the folder of the evidence that end so.
func (g *gatherTest) files(suffix string) []string {
	g.Helper()
	found, err := filepath.Glob(filepath.Join(g.out, "*"+suffix))
	if err != nil {
		g.Fatal(err)
	}
	return found
}

func (g *gatherTest) count(operation string) (n int) {
	for _, c := range g.cloud.Calls() {
		if c.Operation == operation {
			n++
		}
	}
	return n
}

// What was read stands, signed, when the program is killed while it waits for snapshots; run again, it waits for those, and makes no others.
func TestGatherKilled(t *testing.T) {
	g := newGatherTest(t)
	g.cloud.Edit(func() { g.region.SnapshotLooks = 1 << 30 })
	program, err := exec.LookPath("shotglass") // this test binary, as testscript has it
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "gather", "--items", "console,user-data,snapshots", "i-00000001")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); g.count("DescribeSnapshots") < 3; time.Sleep(20 * time.Millisecond) { // it waits
		if time.Since(began) > time.Minute {
			t.Fatal("nobody waits for snapshots")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() //nolint:errcheck // it was killed
	record := g.files(".gathered")
	if len(record) != 1 || len(g.files(".snapshots")) != 0 {
		t.Fatalf("%q", record)
	}
	out, _ := g.run(exitPartial, "verify", "--signers", g.signers, record[0])
	g.has("the verdict", out, ": partial; ", "2 items, 2 of them kept", "missing: nobody saw the end of the snapshots")

	g.cloud.Edit(func() { g.region.SnapshotLooks = 0 })
	out, errs := g.run(exitOK, "gather", "--items", "snapshots", "i-00000001")
	g.has("the result", out, "i-00000001\tcomplete\t0/0\tsnap-")
	g.has("the story", errs, "1 snapshot of an earlier run of this case found")
	if n := g.count("CreateSnapshots"); n != 1 {
		t.Errorf("%d sets", n)
	}
	for _, r := range g.files(".gathered") {
		if r != record[0] {
			out, _ = g.run(exitOK, "verify", "--signers", g.signers, r)
			g.has("the verdict", out, ": verified; ")
		}
	}
}

// Before the first byte, and before anything is changed, everything that a change would change has been read, and snapshots
// have been begun. What the run did is in its log.
func TestGatherBeforeCapture(t *testing.T) {
	g := newGatherTest(t)
	file := writeHosts(t, `
hosts:
- {ec2: i-00000001, ec2_gather: [all, snapshots], containment: {gate: always, untrack_wait: 0s}}
- {ec2: i-00000002, ec2_gather: none}
`)
	o := mustParse(t, "-c", file, "--watch", "0s", "--journal", g.dir)
	key, err := o.openSigner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	if len(o.gather.list) != 1 || o.gather.list[0].host != "i-00000001" {
		t.Fatalf("%+v", o.gather.list)
	}
	var mu sync.Mutex // items are stored as they come, several at once
	var story []string
	say := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		story = append(story, s)
	}
	if err := o.follow.plan(t.Context(), func(string) {}, nil); err != nil {
		t.Fatal(err)
	}
	g.cloud.Reset()
	var entries []audit.Entry
	o.gather.start(t.Context(), say, func(e audit.Entry) {
		mu.Lock()
		defer mu.Unlock()
		entries = append(entries, e)
	})
	job := o.Jobs[0]
	job.Before(t.Context())
	calls := g.cloud.Calls()
	changed := slices.IndexFunc(calls, func(c awsfake.Call) bool { return c.Writes && c.Operation != "CreateSnapshots" })
	if changed < 0 {
		t.Fatal("nothing was protected before the capture")
	}
	for _, want := range []string{"CreateSnapshots", "GetConsoleScreenshot", "GetConsoleOutput", "DescribeTags", "DescribeNetworkAcls", "DescribeVolumes", "GetRolePolicy"} {
		if n := slices.IndexFunc(calls, func(c awsfake.Call) bool { return c.Operation == want }); n < 0 || n > changed {
			t.Errorf("%s is call %d, and the first change is call %d", want, n, changed)
		}
	}
	if code := o.gather.finish(); code != exitOK {
		t.Errorf("exit code %d: %q", code, story)
	}
	items := len(entries)
	entries = slices.DeleteFunc(entries, func(e audit.Entry) bool { return e.Event == "gather-item" && e.Stored.SHA256 != "" })
	if items -= len(entries); items != len(cloudevidence.Kinds()) {
		t.Errorf("%d items are logged", items)
	}
	if len(entries) != 3 || entries[0].Event != "snapshotted" || !strings.Contains(entries[0].Message, "snap-") ||
		entries[1].Event != "gathered" || entries[2].Event != "snapshots" || entries[1].Manifest == nil || entries[1].Manifest.SHA256 == "" {
		t.Errorf("%+v", entries)
	}
	if n := len(g.files(".gathered.sig")) + len(g.files(".snapshots.sig")); n != 2 {
		t.Errorf("%d signatures", n)
	}
	if o.Jobs[1].Before != nil {
		t.Error("something hangs on a host of which nothing is gathered")
	}
}

// What cannot be read is said, on the page too, with the code 3; the rest is there. What the instance's owner wrote obeys nobody.
func TestGatherDenied(t *testing.T) {
	g := newGatherTest(t)
	g.cloud.Edit(func() {
		g.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if c.Operation == "GetConsoleScreenshot" {
				return awsfake.Fault{Error: awsfake.Denied(c)}
			}
			return awsfake.Fault{}
		}
		g.region.Instances["i-00000001"].Tags["Name"] = "<script>alert(1)</script>"
		g.region.Instances["i-00000001"].Devices[0].SnapshotFails = "no room"
	})
	out, errs := g.run(exitPartial, "gather", "--items", "instance,screenshot,user-data,snapshots", "--snapshot-lock", "7", "i-00000001")
	g.has("the result", out, "i-00000001\tpartial\t2/3\tsnap-", "=error")
	g.has("the story", errs, "not gathered: screenshot: UNKNOWN, as your credentials may not read it", `error: "no room"`)
	record := g.files(".gathered")[0]
	page := g.page(exitPartial, "--signers", g.signers, g.out)
	g.has("the page", page, "What AWS had of i-00000001", "Snapshots of i-00000001", "screenshot: UNKNOWN", "no room", "governance, 7 days", "DescribeInstances", "the archives: they were not read", "-n "+cloudevidence.Namespace, "for r in *.snapshots;")
	if strings.Contains(page, "<script>") || strings.Contains(page, "hunter2") {
		t.Error("a tag is markup, or a secret is on the page")
	}
	out, _ = g.run(exitPartial, "verify", "--signers", g.signers, record)
	g.has("the verdict", out, "missing: screenshot")
	logs := g.files("-audit.jsonl")
	out, _ = g.run(exitOK, "verify", "--signers", g.signers, logs[0])
	g.has("the log", out, "manifests: 2 of 2 as the log says", "the run ended with exit code 3")
	archive := g.files(".tar.zst")[0]
	b, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(archive, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ = g.run(exitMismatch, "verify", "--json", "--signers", g.signers, archive)
	g.has("the verdict", out, `"message_type":"gathered_verification"`, `"verdict":"mismatch"`)
	g.has("the page", g.page(exitMismatch, "--verify", "--signers", g.signers, g.out), filepath.Base(archive)+" has SHA-256")
}

// Windows and terminated instances are gathered, and named; nobody knows what is missing where AWS does not answer at all.
func TestGatherOthers(t *testing.T) {
	g := newGatherTest(t)
	g.cloud.Edit(func() { g.region.Instances["i-00000003"].State = "terminated" })
	_, errs := g.run(exitOK, "gather", "--items", "instance", "i-00000003", "i-00000004")
	g.has("the story", errs, "i-00000003: it is terminated", "i-00000004: it runs Windows")
	_, errs = g.run(exitPartial, "gather", "--items", "snapshots", "i-00000003")
	g.has("the story", errs, "snapshots: none was made: the instance has no volumes")
	_, errs = g.run(exitUsage, "gather", "--ec2-limit", "1", "tag:Env=prod")
	g.has("the story", errs, "4 instances are selected, and the limit is 1")
	if _, err := parse(t, "--gather", "all", "web1"); err == nil || !strings.Contains(err.Error(), "--gather is about EC2 instances") {
		t.Errorf("%v", err)
	}
	if _, err := parse(t, "--snapshot-lock", "7", "i-00000001"); err == nil || !strings.Contains(err.Error(), "--snapshot-lock is given, and no snapshots are to be made") {
		t.Errorf("%v", err)
	}
	if o := mustParse(t, "web1"); o.gather != nil {
		t.Error("something is gathered though nothing was asked for")
	}
	for text, args := range map[string][]string{
		"--snapshot-irreversible is for --snapshot-lock": {"--snapshot-irreversible", complianceWord},
		"want snapshot-lock-compliance":                  {"--snapshot-lock", "3", "--snapshot-irreversible", "yes"},
		"want a number of days":                          {"--snapshot-lock", "36501"},
		"--snapshot-wait is 0":                           {"--snapshot-share", "444455556666", "--snapshot-wait", "0"},
		"--snapshot-share":                               {"--snapshot-share", "all"},
		"90 days":                                        {"--trail-since", "3000h"},
	} {
		_, errs := g.run(exitUsage, append(append([]string{"gather", "--items", "all,snapshots"}, args...), "i-00000001")...)
		g.has("the refusal", errs, text)
	}
	if n := g.count("CreateSnapshots"); n != 0 {
		t.Errorf("%d sets", n)
	}
}

// interruptGather runs a gather, and interrupts it at an event of its log.
func interruptGather(t *testing.T, o *captureOptions, event string) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	o.gather.start(ctx, func(string) {}, func(e audit.Entry) {
		if e.Event == event {
			cancel(&signalError{Signal: "SIGINT"})
		}
	})
	if code := o.gather.finish(); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
}

// An interrupted run keeps what it has, and says how to go on.
func TestGatherInterrupted(t *testing.T) {
	g := newGatherTest(t)
	g.cloud.Edit(func() { g.region.SnapshotLooks = 1 << 30 })
	o := mustParse(t, "--gather", "tags,snapshots", "--snapshot-lock", "7", "--snapshot-copy-key", "alias/k", "--snapshot-share", "444455556666", "i-00000001")
	key, err := o.openSigner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	interruptGather(t, o, "gathered")
	x := o.gather.list[0]
	if x.record == nil || !x.record.Complete || x.later == nil || x.later.Complete || !strings.Contains(strings.Join(x.later.Snapshots.Notes, ""), "not waited for any longer") {
		t.Errorf("%+v", x)
	}
	var out, errs strings.Builder
	if err := o.gather.tell(newConsole(strings.NewReader(""), &out, &errs)); err != nil {
		t.Fatal(err)
	}
	g.has("the story", errs.String(), "to go on: shotglass gather --items snapshots --case 42 ", " --to "+g.out, " --sign-key "+filepath.Join(g.dir, "sign"),
		" --snapshot-lock 7 --snapshot-copy-key alias/k --snapshot-share 444455556666 arn:aws:ec2:eu-west-1:111122223333:instance/i-00000001")
}

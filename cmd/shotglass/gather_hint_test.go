package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
)

// hinted is the command of a hint, as a shell takes it apart, and the rest of the environment's settings are gone.
func (g *gatherTest) hinted(story string) []string {
	g.Helper()
	_, command, ok := strings.Cut(story, "hint: to go on: ")
	if !ok {
		g.Fatalf("no hint:\n%s", story)
	}
	command, _, _ = strings.Cut(command, "\n")
	out, err := exec.Command("sh", "-c", `shotglass() { printf '%s\0' "$@"; }; `+command).Output()
	if err != nil {
		g.Fatalf("%s: %v", command, err)
	}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "SHOTGLASS_") {
			g.Setenv(name, "") // so that it comes back
			os.Unsetenv(name)
		}
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

// What an interrupted run says to go on with is a command that works as it stands, in another environment, and does all that is missing in the same
// place under the same terms.
func TestGatherHint(t *testing.T) {
	g := newGatherTest(t)
	s := newShelf(t)
	for _, kv := range g.cloud.Env(responderARN, "eu-west-1") {
		k, v, _ := strings.Cut(kv, "=")
		t.Setenv(k, v)
	}
	os.Unsetenv("SHOTGLASS_OUTPUT")
	t.Setenv("SHOTGLASS_S3_ENDPOINT", s.url)
	t.Setenv("SHOTGLASS_S3_PATH_STYLE", "1")
	t.Setenv("SHOTGLASS_CASE", "it's $HOME; a \"case\"")
	undo := g.silent()
	g.cloud.Edit(func() { g.region.SnapshotLooks = 1 << 30 })
	profile := filepath.Join(g.dir, "config")
	if err := os.WriteFile(profile, []byte("[profile a b]\nregion = eu-central-1\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", profile)
	o := mustParse(t, "--to", "s3://evidence/a/", "--gather", "tags,trail,snapshots", "--snapshot-share", "444455556666", "--snapshot-wait", "2h", "--operator", "ann & bob",
		"--s3-region", "eu-central-1", "--s3-profile", "a b", "--s3-kms-key", "alias/it's", "--s3-tag", "team=i r", "--s3-tag", "x=$y", "--s3-bucket-owner", "111122223333", "--s3-lock", "governance", "--s3-retain", "90d", "i-00000001")
	key, err := o.openSigner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	interruptGather(t, o, "gather-item")
	var out, errs strings.Builder
	if err := o.gather.tell(newConsole(strings.NewReader(""), &out, &errs)); err != nil {
		t.Fatal(err)
	}
	args := g.hinted(errs.String())
	undo()
	g.cloud.Edit(func() { g.region.SnapshotLooks = 0 })
	before := g.count("CreateSnapshots")
	line, story := g.run(exitOK, args...)
	g.has("the result", line, "i-00000001\tcomplete\t1/1\tsnap-", "\ts3://evidence/a/i-00000001-")
	g.has("the story", story, "of an earlier run of this case found")
	if n := g.count("CreateSnapshots"); n != before || n != 1 {
		t.Errorf("%d sets", n)
	}
	signed := 0
	for name := range s.objects {
		if !strings.HasPrefix(name, "a/") {
			t.Errorf("%s lies elsewhere", name)
		}
		if strings.HasSuffix(name, ".gathered.sig") {
			signed++
		}
	}
	if signed != 2 {
		t.Errorf("%d signed records", signed)
	}
	for header, want := range map[string]string{
		"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "alias/it's", "X-Amz-Tagging": "team=i%20r&x=%24y", "X-Amz-Expected-Bucket-Owner": "111122223333", "X-Amz-Object-Lock-Mode": "GOVERNANCE",
	} {
		if got := s.last.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	if !strings.Contains(s.last.Get("Authorization"), "/eu-central-1/s3/") {
		t.Error(s.last.Get("Authorization"))
	}
	for name, data := range s.objects {
		if strings.HasSuffix(name, "-audit.jsonl") {
			g.has("the log", string(data), `"operator":"ann`)
		}
	}
}

// It asks for the same: as much of CloudTrail, and for new snapshots if there were to be some and none was made.
func TestGatherHintSame(t *testing.T) {
	newGatherTest(t)
	none, unknown := &cloudevidence.SnapshotSet{Error: "none was made: denied"}, &cloudevidence.SnapshotSet{Error: "UNKNOWN", Unknown: true}
	pending := &cloudevidence.SnapshotSet{Snapshots: []*cloudevidence.Snapshot{{ID: "snap-1", State: "pending"}}}
	const look = "hint: look first whether snapshots have that tag"
	all := []string{" --trail-since ", " --trail-pages ", " --snapshot-again ", look}
	for _, tt := range []struct {
		set        *cloudevidence.SnapshotSet
		args, want []string
	}{
		{nil, []string{"--trail-since", "36h", "--trail-pages", "3"}, []string{" --trail-since 36h0m0s ", " --trail-pages 3 "}},
		{none, []string{"--snapshot-again"}, []string{" --snapshot-again "}},
		{none, nil, nil},
		{unknown, []string{"--snapshot-again"}, []string{look}},
		{unknown, nil, nil},
		{pending, []string{"--snapshot-again"}, nil}, // it is the latest
	} {
		x := mustParse(t, append(tt.args, "--gather", "trail,snapshots", "i-00000001")...).gather.list[0]
		x.code, x.set = exitInterrupted, tt.set
		x.record = &cloudevidence.Record{Items: []cloudevidence.Item{{Name: "tags"}, {Name: "trail", Error: "interrupted"}}}
		var out, errs strings.Builder
		if err := x.tell(newConsole(strings.NewReader(""), &out, &errs)); err != nil {
			t.Fatal(err)
		}
		_, story, ok := strings.Cut(errs.String(), "to go on: shotglass gather --items trail")
		for _, flag := range all {
			if i := slices.IndexFunc(tt.want, func(w string) bool { return strings.HasPrefix(w, flag) }); i >= 0 && !strings.Contains(story, tt.want[i]) || i < 0 && strings.Contains(story, flag) {
				ok = false
			}
		}
		if !ok {
			t.Errorf("%+v of %q, want %q: %s", tt.set, tt.args, tt.want, &errs)
		}
	}
}

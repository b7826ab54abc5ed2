package workstation_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/workstation"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/sink"
)

const (
	responder = "arn:aws:iam::111122223333:role/responder"
	region    = "eu-west-1"
)

type world struct {
	*testing.T
	cloud  *awsfake.Cloud
	stacks *workstation.Stacks
	told   []string
	r      *awsfake.Region
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, cloud: awsfake.New()}
	t.Cleanup(w.cloud.Close)
	r := w.cloud.Account("111122223333").Region(region)
	w.cloud.Edit(func() {
		r.StackParts = []awsfake.StackPart{{Name: "VPC", Type: "AWS::EC2::VPC"}, {Name: "Volume1", Type: "AWS::EC2::Volume"}, {Name: "Instance", Type: "AWS::EC2::Instance"},
			{Name: "Attach1", Type: "AWS::EC2::VolumeAttachment", Mounted: true}}
	})
	w.r = r
	w.again()
	return w
}

// again is another run of the program.
func (w *world) again() {
	w.stacks = &workstation.Stacks{Config: w.cloud.Config(responder, region), Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
}

func (w *world) tell(s string) { w.told = append(w.told, s) }

var terms = workstation.Terms{Case: "case-42", Owner: "kim", Bucket: "evidence", Prefix: "case-42/", KMSKey: "arn:aws:kms:eu-west-1:111122223333:key/x", Snapshots: []string{"snap-0123456789abcdef0"}, ToolSums: "abc  shotglass\n"}

func (w *world) creates() (n int) {
	for _, c := range w.cloud.Calls() {
		if c.Operation == "CreateStack" && c.Error == "" {
			n++
		}
	}
	return n
}

func TestLife(t *testing.T) {
	w := newWorld(t)
	st, err := w.stacks.Create(t.Context(), terms, w.tell)
	if err != nil {
		t.Fatal(err)
	}
	if !st.Good() || !strings.HasPrefix(st.Instance, "i-") || st.Case != "case-42" || st.Owner != "kim" || !slices.Contains(w.told, "Instance CREATE_COMPLETE") {
		t.Errorf("%+v %q", st, w.told)
	}
	made := w.r.Stacks[0]
	for k, v := range map[string]string{"Bucket": "evidence", "Prefix": "case-42/", "Snapshot1": "snap-0123456789abcdef0", "S3PrefixList": "pl-0123abcd", "ExaminerCidr": "", "ToolSums": "abc  shotglass\n"} {
		if made.Parameters[k] != v {
			t.Errorf("%s=%q", k, made.Parameters[k])
		}
	}
	for k := range made.Parameters { // those that the template has
		if !strings.Contains(workstation.Template, "\n  "+k+": {Type") {
			t.Errorf("the template has no parameter %s", k)
		}
	}
	w.again()
	if again, err := w.stacks.Create(t.Context(), terms, w.tell); err != nil || again.ID != st.ID || w.creates() != 1 {
		t.Errorf("again: %+v, %v", again, err)
	}
	other := terms
	other.Case, other.Owner = "case-43", "" // CloudFormation takes no empty tag
	if _, err := w.stacks.Create(t.Context(), other, w.tell); err != nil {
		t.Fatal(err)
	}
	w.cloud.Edit(func() {
		w.cloud.PageSize = 1
		w.r.Stacks = append(w.r.Stacks, &awsfake.Stack{Name: "theirs", ID: "x", State: "CREATE_COMPLETE"})
	})
	list, err := w.stacks.List(t.Context())
	if err != nil || len(list) != 2 || list[0].Case != "case-42" || list[1].Case != "case-43" || list[0].Created.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
	if left, err := w.stacks.Destroy(t.Context(), "case-42", w.tell); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	if _, err := w.stacks.Destroy(t.Context(), "case-42", w.tell); !errors.Is(err, workstation.ErrNone) {
		t.Errorf("gone: %v", err)
	}
	if list, err := w.stacks.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

// Killed at the call that makes the stack, after its effect: the next run finds and waits for it.
func TestKilled(t *testing.T) {
	for _, after := range []bool{false, true} {
		w := newWorld(t)
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			return awsfake.Fault{Crash: c.Operation == "CreateStack", After: after}
		}
		if _, err := w.stacks.Create(t.Context(), terms, w.tell); err == nil {
			t.Fatal("no error")
		}
		w.cloud.Edit(func() { w.cloud.Fault = nil })
		w.cloud.Revive()
		w.again()
		if st, err := w.stacks.Create(t.Context(), terms, w.tell); err != nil || !st.Good() || len(w.r.Stacks) != 1 {
			t.Errorf("%+v, %v", st, err)
		}
	}
}

func TestRollback(t *testing.T) {
	w := newWorld(t)
	w.cloud.Edit(func() { w.r.StackParts[2].Fails = "Insufficient capacity \u202e" })
	st, err := w.stacks.Create(t.Context(), terms, w.tell)
	if !errors.Is(err, workstation.ErrBroken) || !strings.Contains(err.Error(), `ROLLBACK_COMPLETE: Instance: "Insufficient capacity \u202e"`) || st.Good() {
		t.Errorf("%+v, %v", st, err)
	}
	w.again()
	if _, err := w.stacks.Create(t.Context(), terms, w.tell); !errors.Is(err, workstation.ErrBroken) {
		t.Errorf("again: %v", err)
	}
	if left, err := w.stacks.Destroy(t.Context(), "case-42", w.tell); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// A stack that is there is not told to have terms that it does not have, nor changed; whether it is complete or on its way.
func TestOtherTerms(t *testing.T) {
	w := newWorld(t)
	other := terms
	other.Snapshots, other.ExaminerCIDR = nil, "198.51.100.7/32"
	if _, err := w.stacks.Create(t.Context(), other, w.tell); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{"CREATE_COMPLETE", "CREATE_IN_PROGRESS"} {
		w.cloud.Edit(func() { w.r.Stacks[0].State = state })
		_, err := w.stacks.Create(t.Context(), terms, w.tell)
		if !errors.Is(err, workstation.ErrDiffers) || !strings.Contains(err.Error(), `ExaminerCidr is "198.51.100.7/32" and not ""; Snapshot1 is "" and not "snap-0123456789abcdef0"`) {
			t.Errorf("%s: %v", state, err)
		}
	}
	if _, err := w.stacks.Create(t.Context(), other, w.tell); err != nil || w.creates() != 1 {
		t.Errorf("%v", err)
	}
}

// What cannot be deleted is named, and gone for at the next try.
func TestLeft(t *testing.T) {
	w := newWorld(t)
	if _, err := w.stacks.Create(t.Context(), terms, w.tell); err != nil {
		t.Fatal(err)
	}
	part := w.r.Stacks[0].Parts[1]
	w.cloud.Edit(func() { part.Stays = "vol is in use" })
	left, err := w.stacks.Destroy(t.Context(), "case-42", w.tell)
	if err != nil || len(left) != 1 || left[0].Name != "Volume1" || left[0].ID == "" || left[0].Why != "vol is in use" {
		t.Errorf("%+v, %v", left, err)
	}
	w.cloud.Edit(func() { part.Stays = "" })
	if left, err := w.stacks.Destroy(t.Context(), "case-42", w.tell); err != nil || len(left) > 0 {
		t.Errorf("again: %+v, %v", left, err)
	}
}

// An instance that may not end stops everything before anything is deleted.
func TestProtected(t *testing.T) {
	w := newWorld(t)
	st, err := w.stacks.Create(t.Context(), terms, w.tell)
	if err != nil {
		t.Fatal(err)
	}
	w.cloud.Edit(func() { w.r.Instances[st.Instance].TerminationProtection = true })
	if _, err := w.stacks.Destroy(t.Context(), "case-42", w.tell); err == nil || !strings.Contains(err.Error(), "disableApiTermination") || w.r.Stacks[0].State != "CREATE_COMPLETE" {
		t.Errorf("%v, %s", err, w.r.Stacks[0].State)
	}
	w.cloud.Edit(func() { // somebody ended it, long ago
		w.r.Instances[st.Instance].State = "terminated"
		delete(w.r.Instances, st.Instance)
	})
	if left, err := w.stacks.Destroy(t.Context(), "case-42", w.tell); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestNotOurs(t *testing.T) {
	w := newWorld(t)
	w.cloud.Edit(func() {
		w.r.Stacks = []*awsfake.Stack{{Name: "shotglass-workstation-case-42", ID: "x", State: "CREATE_COMPLETE"}}
	})
	if _, err := w.stacks.Destroy(t.Context(), "case-42", w.tell); err == nil || !strings.Contains(err.Error(), "not touched") {
		t.Errorf("%v", err)
	}
}

func TestDenied(t *testing.T) {
	for _, op := range []string{"DescribeStacks", "CreateStack", "DescribePrefixLists"} {
		w := newWorld(t)
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if c.Operation == op {
				return awsfake.Fault{Error: awsfake.Denied(c)}
			}
			return awsfake.Fault{}
		}
		if _, err := w.stacks.Create(t.Context(), terms, w.tell); err == nil || !strings.Contains(err.Error(), "permission missing") || errors.Is(err, workstation.ErrNone) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func TestValid(t *testing.T) {
	if err := terms.Valid(); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*workstation.Terms){
		"case":      func(t *workstation.Terms) { t.Case = "a b" },
		"no prefix": func(t *workstation.Terms) { t.Prefix = "" },
		"pattern":   func(t *workstation.Terms) { t.Prefix = "case-*/" },
		"all":       func(t *workstation.Terms) { t.ExaminerCIDR = "0.0.0.0/0" },
		"many":      func(t *workstation.Terms) { t.ExaminerCIDR = "198.51.100.0/24" },
		"key":       func(t *workstation.Terms) { t.KMSKey = "alias/x" },
		"alias":     func(t *workstation.Terms) { t.KMSKey = "arn:aws:kms:eu-west-1:111122223333:alias/evidence" },
		"snapshot":  func(t *workstation.Terms) { t.Snapshots = []string{"vol-1"} },
		"snapshots": func(t *workstation.Terms) { t.Snapshots = slices.Repeat([]string{"snap-0123456789abcdef0"}, 5) },
	} {
		bad := terms
		change(&bad)
		if bad.Valid() == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

func TestTools(t *testing.T) {
	dir, store := t.TempDir(), t.TempDir()
	for _, n := range []string{"shotglass", "volatility3-2.0-py3-none-any.whl"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, sums, err := workstation.Tools(dir)
	if err != nil || len(list) != 2 || strings.Count(sums, "\n") != 2 || !strings.HasSuffix(sums, "  volatility3-2.0-py3-none-any.whl\n") {
		t.Fatalf("%v %q %v", list, sums, err)
	}
	to, err := sink.NewDisk(store)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // again changes nothing
		for _, tool := range list {
			if err := tool.Upload(t.Context(), to); err != nil {
				t.Fatal(err)
			}
		}
	}
	if b, err := os.ReadFile(filepath.Join(store, list[0].Object())); err != nil || string(b) != "shotglass" {
		t.Errorf("%q %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "shotglass"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	list[0].SHA256 = strings.Repeat("0", 64)
	if err := list[0].Upload(t.Context(), to); err == nil || !strings.Contains(err.Error(), "changed meanwhile") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a b"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := workstation.Tools(dir); err == nil {
		t.Error("a blank in a name is taken")
	}
}

// TestPolicy does everything with docs/workstation-policy.json alone. What CloudFormation calls on behalf of who runs it is in that
// policy too, and no fake can tell it: those statements begin with another word.
func TestPolicy(t *testing.T) {
	w := newWorld(t)
	exact := w.cloud.RestrictTo(t, "../../../docs/workstation-policy.json", responder)
	if _, err := w.stacks.Create(t.Context(), terms, w.tell); err != nil {
		t.Fatal(err)
	}
	if _, err := w.stacks.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.stacks.Destroy(t.Context(), "case-42", w.tell); err != nil {
		t.Fatal(err)
	}
	exact("Workstation")
}

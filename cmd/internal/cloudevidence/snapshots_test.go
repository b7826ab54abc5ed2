package cloudevidence_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

func (w *world) start(o cloudevidence.SnapshotOptions) *cloudevidence.SnapshotSet {
	w.Helper()
	if o.Case == "" {
		o.Case = "42"
	}
	return w.gatherer.Start(w.Context(), w.target, o)
}

func (w *world) await(set *cloudevidence.SnapshotSet, o cloudevidence.SnapshotOptions) (progress []string) {
	w.Helper()
	if o.Case == "" {
		o.Case = "42"
	}
	if err := w.gatherer.Await(w.Context(), w.target, set, o, func() { progress = append(progress, set.Progress()) }); err != nil {
		w.Error(err)
	}
	return progress
}

// One call takes all volumes; they are waited for with progress; one that fails is named with AWS's reason.
func TestSnapshots(t *testing.T) {
	w := newWorld(t)
	w.region.SnapshotLooks, w.region.Lag = 3, 2
	w.instance.Devices[1].SnapshotFails = "the volume \u202eis broken"
	set := w.start(cloudevidence.SnapshotOptions{})
	if len(set.Snapshots) != 2 || set.Error != "" || !set.Pending() || set.Set == "" || w.count("CreateSnapshots") != 1 {
		t.Fatalf("%+v", set)
	}
	progress := w.await(set, cloudevidence.SnapshotOptions{})
	if all := strings.Join(progress, "\n"); !strings.Contains(all, " 25%") || !strings.Contains(all, " 75%") || !strings.Contains(all, "completed") {
		t.Errorf("%s", all)
	}
	why := set.Unfinished()
	if len(why) != 1 || !strings.Contains(why[0], `vol-00000002: error: "the volume \u202eis broken"`) || set.Snapshots[0].Completed.IsZero() {
		t.Errorf("%q %+v", why, set.Snapshots[0])
	}
	s := w.region.Snapshots[set.Snapshots[0].ID]
	if s.Tags["shotglass-case"] != "42" || s.Tags["shotglass-instance"] != victim || s.Tags["shotglass-set"] != set.Set {
		t.Errorf("%v", s.Tags)
	}
}

// A second run of the case takes the set of the first, wherever the first was killed; another case, a set that lacks a volume, or
// one that failed, does not do.
func TestSecondRun(t *testing.T) {
	w := newWorld(t)
	w.region.SnapshotLooks = 2
	first := w.start(cloudevidence.SnapshotOptions{})
	second := w.start(cloudevidence.SnapshotOptions{})
	if !second.Earlier || second.Set != first.Set || len(second.Snapshots) != 2 || w.count("CreateSnapshots") != 1 {
		t.Errorf("%+v", second)
	}
	w.await(second, cloudevidence.SnapshotOptions{})
	if why := second.Unfinished(); len(why) > 0 {
		t.Errorf("%q", why)
	}
	if again := w.start(cloudevidence.SnapshotOptions{Again: true}); again.Earlier || again.Set == first.Set {
		t.Errorf("%+v", again)
	}
	if other := w.start(cloudevidence.SnapshotOptions{Case: "43"}); other.Earlier {
		t.Errorf("%+v", other)
	}
	w.cloud.Edit(func() {
		w.instance.Devices = append(w.instance.Devices, &awsfake.Device{Name: "/dev/sdc", Volume: "vol-00000003"})
	})
	third := w.start(cloudevidence.SnapshotOptions{})
	if third.Earlier || len(third.Snapshots) != 3 {
		t.Errorf("%+v", third)
	}
	w.cloud.Edit(func() {
		for _, s := range w.region.Snapshots {
			s.State = "error"
		}
	})
	if fourth := w.start(cloudevidence.SnapshotOptions{}); fourth.Earlier {
		t.Errorf("%+v", fourth)
	}
}

// CreateSnapshots knows no second call by a token: when its answer is lost, the set is looked for by its tag and made once.
func TestLostAnswer(t *testing.T) {
	for name, f := range map[string]awsfake.Fault{
		"lost after":  {Lost: true, After: true},
		"lost before": {Lost: true},
		"error after": {Error: &awsfake.Error{Code: "InternalError", Message: "sorry", Status: http.StatusInternalServerError}, After: true},
		"throttled":   {Error: awsfake.Throttled},
	} {
		w := newWorld(t)
		w.fault(func(n int, _ *awsfake.Call) awsfake.Fault {
			if n == 1 {
				return f
			}
			return awsfake.Fault{}
		}, "CreateSnapshots")
		set := w.start(cloudevidence.SnapshotOptions{})
		if set.Error != "" || len(set.Snapshots) != 2 || len(w.region.Snapshots) != 2 {
			t.Errorf("%s: %d in EC2, %+v", name, len(w.region.Snapshots), set)
		}
	}
	w := newWorld(t)
	w.fault(denied, "CreateSnapshots")
	if set := w.start(cloudevidence.SnapshotOptions{}); !strings.Contains(set.Error, "none was made") || w.count("CreateSnapshots") != 1 {
		t.Errorf("%+v", set)
	}
	for _, c := range w.cloud.Calls() {
		if c.Operation == "DescribeSnapshots" && c.Form.Get("MaxResults") != "1000" {
			t.Errorf("not in pages: %v", c.Form)
		}
	}
	w.fault(denied, "DescribeSnapshots") // whether there are some already is not known: none is made
	if set := w.start(cloudevidence.SnapshotOptions{}); !strings.Contains(set.Error, "whether the case has snapshots already") || len(w.region.Snapshots) != 0 {
		t.Errorf("%+v", set)
	}
	w.cloud.Edit(func() { w.instance.State, w.cloud.Fault = "terminated", nil })
	if set := w.start(cloudevidence.SnapshotOptions{}); !strings.Contains(set.Error, "the instance has no volumes") {
		t.Errorf("%+v", set)
	}
}

// Nobody knows whether a set was made whose answer did not come, unless it is found: also when the time is up, and a volume is gone meanwhile.
func TestLostForGood(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.fault(func(int, *awsfake.Call) awsfake.Fault {
		cancel()
		return awsfake.Fault{Lost: true, After: true}
	}, "CreateSnapshots")
	set := w.gatherer.Start(ctx, w.target, cloudevidence.SnapshotOptions{Case: "42"})
	if set.Error != "" || len(set.Snapshots) != 2 || !strings.Contains(strings.Join(set.Notes, ""), "EC2's answer was lost") || w.count("CreateSnapshots") != 1 {
		t.Errorf("interrupted: %+v", set)
	}

	w = newWorld(t)
	w.fault(func(int, *awsfake.Call) awsfake.Fault {
		w.region.Lag = 100 // it cannot be seen for long
		return awsfake.Fault{Lost: true, After: true}
	}, "CreateSnapshots")
	ctx, cancel = context.WithCancel(t.Context())
	w.gatherer.Sleep = func(ctx context.Context, d time.Duration) error {
		cancel()
		return w.cloud.Sleep(ctx, d)
	}
	set = w.gatherer.Start(ctx, w.target, cloudevidence.SnapshotOptions{Case: "42"})
	if !strings.HasPrefix(set.Error, "UNKNOWN whether any was made; what was has the tag shotglass-set="+set.Set) || !set.Unknown || len(w.region.Snapshots) != 2 {
		t.Errorf("not seen: %+v", set)
	}

	w = newWorld(t)
	w.fault(func(n int, c *awsfake.Call) awsfake.Fault {
		w.instance.Devices = w.instance.Devices[:1] // detached just before
		return awsfake.Fault{Lost: true, After: true}
	}, "CreateSnapshots")
	set = w.start(cloudevidence.SnapshotOptions{})
	w.await(set, cloudevidence.SnapshotOptions{})
	if why := set.Unfinished(); len(w.region.Snapshots) != 1 || !strings.Contains(strings.Join(why, "\n"), "no snapshot of this volume was found by the tag of the set") {
		t.Errorf("detached: %d in EC2, %q", len(w.region.Snapshots), why)
	}
}

// What was asked for and is not there is missing, however it came so; the calls that changed something are listed.
func TestWanted(t *testing.T) {
	key := "alias/evidence"
	o := cloudevidence.SnapshotOptions{Case: "42", LockDays: 7, CopyKey: key, Share: []string{"444455556666"}}
	w := newWorld(t)
	w.region.SnapshotLooks = 3
	locks := 0
	w.fault(func(n int, c *awsfake.Call) awsfake.Fault {
		if locks = n; n > 2 { // those of the copies
			return denied(n, c)
		}
		return awsfake.Fault{}
	}, "LockSnapshot")
	set := w.start(o)
	w.await(set, o)
	why := set.Unfinished()
	if len(why) != 2 || !strings.Contains(why[0], "the copy of "+set.Snapshots[0].ID+": it was not locked: ") || locks != 4 {
		t.Errorf("copies that are not locked: %q", why)
	}
	listed := map[string]int{}
	for _, c := range set.Calls {
		listed[c.Operation]++
	}
	if listed["CopySnapshot"] != 2 || listed["ModifySnapshotAttribute"] != 2 || listed["LockSnapshot"] != 4 || listed["DescribeSnapshots"] >= w.count("DescribeSnapshots")-2 {
		t.Errorf("%v of %d", listed, w.count("DescribeSnapshots"))
	}

	// A second run finds the copies by their tags, though by an alias it cannot know their key, and locks them.
	w.cloud.Edit(func() { w.cloud.Fault = nil })
	set = w.start(o)
	w.await(set, o)
	if why := set.Unfinished(); len(why) > 0 || w.count("CopySnapshot") != 2 || set.Snapshots[1].Copy.Locked != "governance, 7 days" {
		t.Errorf("found copies: %q, %+v", why, set.Snapshots[1].Copy)
	}

	// Nobody came to copy, lock and share what was stored already.
	w = newWorld(t)
	w.await(w.start(cloudevidence.SnapshotOptions{}), cloudevidence.SnapshotOptions{})
	set = w.start(o)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.gatherer.Await(ctx, w.target, set, o, nil); err == nil {
		t.Error("it did not notice that nobody waits")
	}
	all := strings.Join(set.Unfinished(), "\n")
	if set.Wanted.CopyKey != key || !strings.Contains(all, "it was not copied") || !strings.Contains(all, "it was not shared with 444455556666") {
		t.Errorf("%q %+v", all, set.Wanted)
	}
}

// A copy whose answer was lost is looked for before another is asked for.
func TestLostCopy(t *testing.T) {
	for name, f := range map[string]awsfake.Fault{"lost after": {Lost: true, After: true}, "throttled": {Error: awsfake.Throttled}} {
		w := newWorld(t)
		w.fault(func(n int, _ *awsfake.Call) awsfake.Fault {
			if n == 1 {
				return f
			}
			return awsfake.Fault{}
		}, "CopySnapshot")
		o := cloudevidence.SnapshotOptions{CopyKey: "key-1"}
		set := w.start(o)
		w.await(set, o)
		if why := set.Unfinished(); len(why) > 0 || len(w.region.Snapshots) != 4 {
			t.Errorf("%s: %q, %d in EC2", name, why, len(w.region.Snapshots))
		}
	}
}

// A copy is as new to EC2 as snapshots were, however long ago those were begun.
func TestCopyUnseen(t *testing.T) {
	w := newWorld(t)
	w.region.SnapshotLooks, w.region.Lag = 15, 2
	o := cloudevidence.SnapshotOptions{CopyKey: "key-1"}
	set := w.start(o)
	w.await(set, o)
	if why := set.Unfinished(); len(why) > 0 {
		t.Errorf("%q", why)
	}
}

// A case is compared as it is: EC2 has wild cards.
func TestCaseOfWildCards(t *testing.T) {
	w := newWorld(t)
	w.start(cloudevidence.SnapshotOptions{Case: "42"})
	for _, name := range []string{"4*", "4?", `4*?\`} {
		if set := w.start(cloudevidence.SnapshotOptions{Case: name}); set.Earlier {
			t.Errorf("%s takes the snapshots of 42", name)
		}
		if set := w.start(cloudevidence.SnapshotOptions{Case: name}); !set.Earlier {
			t.Errorf("%s does not find its own", name)
		}
	}
}

// What EBS's own key encrypts cannot be shared: that is said, and a copy under another key is shared in its place, and found by a second run.
func TestShare(t *testing.T) {
	w := newWorld(t)
	w.instance.Devices[0].KMSKey = awsfake.DefaultKey
	o := cloudevidence.SnapshotOptions{Share: []string{"444455556666"}}
	set := w.start(o)
	w.await(set, o)
	why := set.Unfinished()
	if len(why) != 1 || !strings.Contains(why[0], "What is encrypted with EBS's own key (aws/ebs) cannot be shared") || fmt.Sprint(set.Snapshots[1].Shared) != "[444455556666]" {
		t.Errorf("%q %+v", why, set.Snapshots[1])
	}
	o.CopyKey, o.LockDays = "arn:aws:kms:eu-west-1:"+account+":key/k-1", 30
	for range 2 {
		set = w.start(o)
		w.await(set, o)
		if why := set.Unfinished(); len(why) > 0 || set.Snapshots[0].Copy == nil || fmt.Sprint(set.Snapshots[0].Copy.Shared) != "[444455556666]" {
			t.Errorf("%q %+v", why, set.Snapshots[0])
		}
		if needs := strings.Join(set.Needs(), "\n"); !strings.Contains(needs, o.CopyKey+": the policy of that key must allow 444455556666 kms:DescribeKey") {
			t.Errorf("%s", needs)
		}
	}
	if n := w.count("CopySnapshot"); n != 2 {
		t.Errorf("%d copies", n)
	}
	for id, s := range w.region.Snapshots {
		if s.Lock != "governance 30" {
			t.Errorf("%s: %q", id, s.Lock)
		}
	}
}

// Who deletes a snapshot while it is waited for is noticed; who has no time any more gets what is known.
func TestGoneAndInterrupted(t *testing.T) {
	w := newWorld(t)
	w.region.SnapshotLooks = 1000
	set := w.start(cloudevidence.SnapshotOptions{})
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("no time")
	looks := 0
	err := w.gatherer.Await(ctx, w.target, set, cloudevidence.SnapshotOptions{Case: "42"}, func() {
		if looks++; looks == 3 {
			cancel(over)
		}
	})
	if !errors.Is(err, over) || !set.Pending() {
		t.Errorf("%v %+v", err, set)
	}
	w.cloud.Edit(func() {
		w.region.SnapshotLooks = 0
		delete(w.region.Snapshots, set.Snapshots[0].ID)
	})
	began := w.cloud.Now()
	w.await(set, cloudevidence.SnapshotOptions{})
	if why := set.Unfinished(); len(why) != 1 || !strings.Contains(why[0], "gone") || w.cloud.Now().Sub(began) > 10*time.Minute {
		t.Errorf("%q after %s", why, w.cloud.Now().Sub(began))
	}
	w.fault(denied, "DescribeSnapshots")
	set.Snapshots[1].State = "pending"
	w.await(set, cloudevidence.SnapshotOptions{})
	if why := strings.Join(set.Unfinished(), "\n"); !strings.Contains(why, "how far it is could not be read: UNKNOWN, as your credentials may not") {
		t.Error(why)
	}
}

package cloudevidence_test

import (
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
)

// A lock in compliance mode is one only in words; what refuses a lock is told, and the snapshots stand.
func TestLock(t *testing.T) {
	w := newWorld(t)
	set := w.start(cloudevidence.SnapshotOptions{LockDays: 1, Compliance: true})
	if s := set.Snapshots[0]; s.Locked != "compliance, 1 days" || w.region.Snapshots[s.ID].Lock != "compliance 1" {
		t.Errorf("%+v", s)
	}
	w.fault(denied, "LockSnapshot")
	set = w.start(cloudevidence.SnapshotOptions{Case: "other", LockDays: 1})
	if why := set.Unfinished(); set.Error != "" || len(set.Snapshots) != 2 || !strings.Contains(strings.Join(why, "\n"), "it was not locked: ") {
		t.Errorf("%q %+v", why, set)
	}
}

// A second run makes no lock shorter, and locks nothing for good that was only found.
func TestLockFound(t *testing.T) {
	w := newWorld(t)
	lock := func(days int32, compliance bool) *cloudevidence.Snapshot {
		o := cloudevidence.SnapshotOptions{LockDays: days, Compliance: compliance}
		set := w.start(o)
		w.await(set, o)
		return set.Snapshots[0]
	}
	first := lock(30, false)
	want := func(what string, s *cloudevidence.Snapshot, locked, failed, really string) {
		t.Helper()
		if s.ID != first.ID || !strings.Contains(s.Locked, locked) || (locked == "") != (s.Locked == "") || !strings.Contains(strings.Join(s.Errors, ""), failed) ||
			(failed == "") != (len(s.Errors) == 0) || w.region.Snapshots[s.ID].Lock != really {
			t.Errorf("%s: %+v, %q", what, s, w.region.Snapshots[s.ID].Lock)
		}
	}
	want("a shorter one", lock(7, false), "governance, until", "", "governance 30")
	want("for good", lock(7, true), "", "lock-snapshot --region eu-west-1 --snapshot-id "+first.ID, "governance 30")
	want("a longer one", lock(60, false), "governance, until", "", "governance 60")
	w.cloud.Edit(func() { w.region.Snapshots[first.ID].Lock = "compliance 60" })
	want("one for good that lasts", lock(60, true), "compliance, until", "", "compliance 60")
	want("longer than one for good", lock(90, false), "", "can only be made longer", "compliance 60")
	ended := w.cloud.Now().Add(-time.Hour)
	w.cloud.Edit(func() {
		w.region.Snapshots[first.ID].LockEnds, w.region.Snapshots[first.ID].Lock = ended, "governance 60"
	})
	want("one that has ended", lock(7, false), "governance, 7 days", "", "governance 7")
	w.fault(denied, "DescribeLockedSnapshots")
	want("one that cannot be read", lock(90, false), "", "which lock it has: UNKNOWN, as your credentials may not read it", "governance 7")
}

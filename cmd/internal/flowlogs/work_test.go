package flowlogs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/cmd/internal/flowlogs"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

func vpcLog(id string) awsfake.FlowLog {
	return awsfake.FlowLog{ID: id, On: "vpc-00000001", Traffic: "ALL", Group: id, Format: flowlogs.DefaultFormat}
}

// Of a terminated instance AWS tells no VPC: that nothing was looked for is said, not that there is nothing.
func TestTerminated(t *testing.T) {
	w := newWorld(t)
	w.log(vpcLog("fl-1"), line("192.0.2.1", "10.0.0.1", 1, 2, 5, awsfake.Start, "ACCEPT"))
	w.cloud.Edit(func() { w.r.Instances["i-00000001"].State = "terminated" })
	w.find()
	got := strings.Join(w.read(flowlogs.Reader{}).Missing, "\n")
	if !strings.Contains(got, "the VPC of i-00000001 is not known (it is terminated)") || strings.Contains(got, "there is no flow log") {
		t.Error(got)
	}
}

// What a log cannot have is said: of before it or its group was made, of before what the group keeps. An instance that is younger misses
// nothing, and neither does what another log has whole.
func TestFrom(t *testing.T) {
	made := awsfake.Start.Add(-time.Minute)
	for name, c := range map[string]struct {
		edit func(*world, *awsfake.FlowLog)
		want []string
	}{
		"old":   {func(*world, *awsfake.FlowLog) {}, nil},
		"log":   {func(_ *world, l *awsfake.FlowLog) { l.Made = made }, []string{"fl-1 has nothing of before " + made.Format(time.RFC3339)}},
		"group": {func(w *world, _ *awsfake.FlowLog) { w.r.LogGroups["fl-1"] = awsfake.LogGroup{Made: made} }, []string{"fl-1 has nothing of before " + made.Format(time.RFC3339)}},
		"young": {func(w *world, l *awsfake.FlowLog) { l.Made, w.target.Created = made, made }, nil},
		"second": {func(w *world, l *awsfake.FlowLog) {
			l.Made = made
			w.log(vpcLog("fl-2"), line("192.0.2.1", "10.0.0.1", 1, 2, 5, awsfake.Start, "ACCEPT"))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.target.Created = time.Time{}
			l := vpcLog("fl-1")
			w.r.LogGroups = map[string]awsfake.LogGroup{}
			c.edit(w, &l)
			w.log(l, line("192.0.2.1", "10.0.0.1", 1, 2, 5, awsfake.Start, "ACCEPT"))
			if diff := cmp.Diff(c.want, w.read(flowlogs.Reader{}).Missing); diff != "" {
				t.Error(diff)
			}
		})
	}
	w := newWorld(t)
	w.target.Created = time.Time{}
	w.r.LogGroups = map[string]awsfake.LogGroup{"fl-1": {Days: 3}}
	w.log(vpcLog("fl-1"), line("192.0.2.1", "10.0.0.1", 1, 2, 5, awsfake.Start, "ACCEPT"))
	if got := w.read(flowlogs.Reader{Since: time.Now().AddDate(0, 0, -2)}); len(got.Missing) > 0 {
		t.Error(got.Missing)
	}
	if got := w.read(flowlogs.Reader{Since: time.Now().AddDate(0, 0, -30)}); len(got.Missing) != 1 || !strings.Contains(got.Missing[0], "fl-1 has nothing of before") {
		t.Error(got.Missing)
	}
}

// What two logs record is counted once, those of two interfaces both; and a log that broke off does not keep another from being read.
func TestTwice(t *testing.T) {
	in := func(peer string, bytes int) string {
		return line(peer, "10.0.0.1", 50000, 22, bytes, awsfake.Start.Add(-time.Hour), "ACCEPT")
	}
	at := func(id, on string) awsfake.FlowLog {
		l := vpcLog(id)
		l.On = on
		return l
	}
	sum := func(t *testing.T, w *world, want int64, lines ...int) *flowlogs.Talk {
		t.Helper()
		got := w.read(flowlogs.Reader{})
		var read []int
		for _, l := range got.Logs {
			read = append(read, l.Lines)
		}
		if len(got.Peers) != 1 || got.Peers[0].In != want || !cmp.Equal(read, lines) {
			t.Errorf("want %d of lines %v: %+v", want, lines, got)
		}
		return got
	}
	t.Run("covered", func(t *testing.T) {
		w := newWorld(t)
		w.log(at("fl-eni", w.eni), in("192.0.2.1", 100), in("192.0.2.1", 100))
		w.log(vpcLog("fl-vpc"), in("192.0.2.1", 100), in("192.0.2.1", 100))
		if got := sum(t, w, 200, 2, 0); len(got.Missing) > 0 {
			t.Error(got.Missing)
		}
	})
	t.Run("broken off", func(t *testing.T) {
		w := newWorld(t)
		w.cloud.PageSize = 1
		w.log(vpcLog("fl-1"), in("192.0.2.1", 100), in("192.0.2.1", 100), in("192.0.2.1", 100))
		w.log(vpcLog("fl-2"), in("192.0.2.1", 100), in("192.0.2.1", 100), in("192.0.2.1", 100))
		calls := 0
		w.cloud.Edit(func() {
			w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
				if c.Action == "logs:FilterLogEvents" {
					if calls++; calls == 4 {
						return awsfake.Fault{Error: awsfake.Denied(c)}
					}
				}
				return awsfake.Fault{}
			}
		})
		if got := sum(t, w, 300, 2, 3); len(got.Missing) != 1 || !strings.Contains(got.Missing[0], "fl-1: permission missing: after 2 lines") {
			t.Error(got.Missing)
		}
	})
	t.Run("lossy", func(t *testing.T) {
		w := newWorld(t)
		w.log(vpcLog("fl-vpc"), in("192.0.2.1", 100), "2 "+own+" eni-x - - - - - - - 1795312800 1795312860 - SKIPDATA")
		w.log(at("fl-eni", w.eni), in("192.0.2.1", 100), in("192.0.2.1", 150))
		sum(t, w, 250, 2, 2)
	})
	t.Run("apart", func(t *testing.T) {
		w := newWorld(t)
		w.target.Interfaces = append(w.target.Interfaces, "eni-second")
		w.log(at("fl-1", w.eni), in("192.0.2.1", 100))
		w.log(at("fl-2", "eni-second"))
		w.cloud.Edit(func() {
			w.r.Logs["fl-2"] = []awsfake.LogLine{{Stream: "eni-second-all", Time: awsfake.Start.Add(-time.Hour), Message: in("192.0.2.1", 30)}}
		})
		sum(t, w, 130, 1, 1)
	})
	t.Run("one group", func(t *testing.T) {
		w := newWorld(t)
		w.log(vpcLog("fl-1"), in("192.0.2.1", 100), in("192.0.2.1", 100))
		l := at("fl-2", w.eni)
		l.Group = "fl-1"
		w.log(l)
		if got := sum(t, w, 200, 2, 0); len(got.Missing) != 1 || !strings.Contains(got.Missing[0], "fl-1 and fl-2 write to the same streams of fl-1") {
			t.Error(got.Missing)
		}
	})
}

package flowlogs_test

import (
	"fmt"
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
	w.log(vpcLog("fl-1"))
	now := time.Now()
	w.quiet("fl-1", now.AddDate(0, 0, -3), now)
	if got := w.read(flowlogs.Reader{Since: now.AddDate(0, 0, -2), Until: now}); len(got.Missing) > 0 {
		t.Error(got.Missing)
	}
	if got := w.read(flowlogs.Reader{Since: now.AddDate(0, 0, -30), Until: now}); len(got.Missing) != 1 || !strings.Contains(got.Missing[0], "fl-1 has nothing of before") {
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

// quiet has the interface's stream in a group say every half hour that there was no traffic.
func (w *world) quiet(group string, from, to time.Time) {
	w.cloud.Edit(func() {
		for at := from; at.Before(to); at = at.Add(30 * time.Minute) {
			w.r.Logs[group] = append(w.r.Logs[group], awsfake.LogLine{Stream: w.eni + "-all", Time: at, Message: fmt.Sprintf("2 %s eni-x - - - - - - - %d %d - NODATA", own, at.Unix(), at.Unix()+60)})
		}
	})
}

// A stream that was deleted leaves the group behind, and a new one begins with the next line: what has none for over an hour is a gap, and
// another log is read for it.
func TestDeletedStream(t *testing.T) {
	since, in := awsfake.Start.Add(-24*time.Hour), line("192.0.2.1", "10.0.0.1", 50000, 22, 100, awsfake.Start.Add(-time.Hour), "ACCEPT")
	for name, c := range map[string]struct {
		had  []time.Time // in pairs, when the first log has lines
		want string
	}{
		"whole":  {[]time.Time{since, awsfake.Start}, ""},
		"wiped":  {nil, "fl-1 has no line of ENI of 2026-11-21T03:00:00Z to 2026-11-22T03:00:00Z in fl-1"},
		"since":  {[]time.Time{since.Add(5 * time.Hour), awsfake.Start}, "fl-1 has no line of ENI of 2026-11-21T03:00:00Z to 2026-11-21T08:00:00Z in fl-1"},
		"until":  {[]time.Time{since, since.Add(time.Hour)}, "fl-1 has no line of ENI of 2026-11-21T03:30:00Z to 2026-11-22T03:00:00Z in fl-1"},
		"within": {[]time.Time{since, since.Add(3 * time.Hour), since.Add(5 * time.Hour), awsfake.Start}, "fl-1 has no line of ENI of 2026-11-21T05:30:00Z to 2026-11-21T08:00:00Z in fl-1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.target.Created = time.Time{}
			w.log(vpcLog("fl-1"))
			w.cloud.Edit(func() { // of another interface, so that the group is there
				w.r.Logs["fl-1"] = []awsfake.LogLine{{Stream: "eni-other-all", Time: awsfake.Start, Message: "rubbish"}}
			})
			for i := 0; i < len(c.had); i += 2 {
				w.quiet("fl-1", c.had[i], c.had[i+1])
			}
			got := w.read(flowlogs.Reader{Since: since})
			want := strings.ReplaceAll(c.want, "ENI", w.eni)
			if all := strings.Join(got.Missing, "\n"); all != want {
				t.Errorf("%q", got.Missing)
			}
			w.quiet("fl-2", since, awsfake.Start)
			w.log(vpcLog("fl-2"), in)
			got = w.read(flowlogs.Reader{Since: since})
			if len(got.Missing) > 0 || (len(got.Peers) == 1) != (c.want != "") {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Logs of other traffic in the same group have streams, and formats, of their own.
func TestOtherStreams(t *testing.T) {
	w := newWorld(t)
	l := vpcLog("fl-1")
	w.log(l, line("192.0.2.1", "10.0.0.1", 50000, 22, 100, awsfake.Start.Add(-time.Hour), "ACCEPT"))
	l.ID, l.Traffic, l.Format = "fl-2", "REJECT", "${dstaddr} ${srcaddr}"
	w.log(l, "10.0.0.1 192.0.2.9")
	l.ID, l.On, l.Traffic, l.Format = "fl-3", w.eni, "ACCEPT", "${pkt-srcaddr} ${pkt-dstaddr} ${bytes} ${start} ${end} ${log-status}"
	w.log(l, fmt.Sprintf("192.0.2.2 10.0.0.1 7 %d %d OK", awsfake.Start.Add(-time.Hour).Unix(), awsfake.Start.Unix()))
	got := w.read(flowlogs.Reader{})
	if len(got.Peers) != 2 || got.Peers[0].In != 100 || got.Peers[1].In != 7 || got.Logs[0].Lines != 1 || got.Logs[0].Bad != 0 {
		t.Errorf("%+v", got)
	}
	if all := strings.Join(got.Missing, "\n"); strings.Contains(all, "write to the same streams") {
		t.Error(all)
	}
}

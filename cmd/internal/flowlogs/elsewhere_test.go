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

// Logs of transit gateways are named where the VPC's own do not tell all: those of another account as a possibility.
func TestTransit(t *testing.T) {
	at := awsfake.Start.Add(-time.Hour)
	for name, c := range map[string]struct {
		edit func(*world)
		want []string
	}{
		"whole": {func(w *world) { w.log(vpcLog("fl-1"), w.at(w.eni, "192.0.2.1", "10.0.0.1", 10, at)) }, nil},
		"interface": {func(w *world) {
			l := vpcLog("fl-1")
			l.On = w.eni
			w.log(l, w.at(w.eni, "192.0.2.1", "10.0.0.1", 10, at))
		}, nil},
		"none": {func(*world) {}, []string{"there is no flow log of vpc-00000001", "fl-9 was not read: it is of the transit gateway or attachment tgw-1 and goes to transit", "vpc-00000001 is attached to the transit gateway tgw-2 of account 444455556666"}},
		"lossy": {func(w *world) {
			w.log(vpcLog("fl-1"), "2 "+own+" eni-x - - - - - - - 1795312800 1795312860 - SKIPDATA")
		}, []string{"fl-1: of 1 lines 1 are SKIPDATA", "fl-9 was not read", "tgw-2 of account"}},
		"denied": {func(w *world) { w.deny("ec2:DescribeTransitGatewayAttachments") }, []string{"there is no flow log", "whether a transit gateway records traffic of vpc-00000001: permission missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.target.Created = time.Time{}
			w.r.Transit = []awsfake.TransitAttachment{{ID: "tgw-attach-1", Gateway: "tgw-1", VPC: "vpc-00000001"}, {ID: "tgw-attach-2", Gateway: "tgw-2", VPC: "vpc-00000001", Owner: "444455556666"}, {ID: "tgw-attach-3", Gateway: "tgw-3", VPC: "vpc-other", Owner: "777788889999"}}
			l := vpcLog("fl-9")
			l.On, l.Group = "tgw-1", "transit"
			w.log(l)
			c.edit(w)
			got := w.read(flowlogs.Reader{})
			all := strings.Join(got.Missing, "\n")
			for _, want := range c.want {
				if !strings.Contains(all, want) {
					t.Errorf("no %q in %q", want, all)
				}
			}
			if len(got.Missing) != len(c.want) {
				t.Errorf("%q", got.Missing)
			}
		})
	}
}

// What reading takes is told before, and of the files that were not read since when.
func TestCost(t *testing.T) {
	w := newWorld(t)
	w.target.Created = time.Time{}
	since := awsfake.Start.Add(-2 * time.Hour)
	l, b := s3Log("fl-1"), w.r.AddBucket("flows")
	size := 0
	for i := range 5 {
		at := since.Add(time.Duration(i) * 30 * time.Minute)
		n := 1
		if i == 3 {
			n = 10000
		}
		body := packed(head, strings.TrimSuffix(strings.Repeat(w.at(w.eni, "192.0.2.1", "10.0.0.1", 10, at)+"\n", n), "\n"))
		size += len(body)
		w.put(b, l, at, body)
	}
	w.log(l)
	var told []flowlogs.Cost
	got := w.read(flowlogs.Reader{Since: since, Until: awsfake.Start, Bytes: 100000, Before: func(c flowlogs.Cost) { told = append(told, c) }})
	if diff := cmp.Diff([]flowlogs.Cost{{ID: "fl-1", To: l.Bucket, Files: 5, Stored: int64(size), Most: 100000}}, told); diff != "" {
		t.Error(diff)
	}
	if len(got.Missing) != 1 || !strings.Contains(got.Missing[0], "more than 100000 bytes: the rest was not read") || !strings.Contains(got.Missing[0], "its files of 2026-11-22T0") {
		t.Errorf("%q", got.Missing)
	}
	w = newWorld(t)
	w.log(vpcLog("fl-1"), w.at(w.eni, "192.0.2.1", "10.0.0.1", 10, since))
	told = nil
	w.read(flowlogs.Reader{Before: func(c flowlogs.Cost) { told = append(told, c) }})
	if len(told) != 1 || told[0].To != "fl-1" || told[0].Files != 0 || told[0].Stored == 0 || told[0].Most != flowlogs.DefaultBytes {
		t.Errorf("%+v", told)
	}
}

// An instance that passes packets on, as one that does NAT, talked to both ends; a line of no interface is of no instance.
func TestForwarded(t *testing.T) {
	w := newWorld(t)
	w.target.Created = time.Time{}
	l, b := s3Log("fl-1"), w.r.AddBucket("flows")
	l.Format = "${interface-id} ${srcaddr} ${dstaddr} ${pkt-srcaddr} ${pkt-dstaddr} ${bytes} ${log-status}"
	w.log(l)
	at := awsfake.Start.Add(-time.Hour)
	w.put(b, l, at, packed("interface-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr bytes log-status",
		w.eni+" 10.0.0.77 10.0.0.1 10.0.0.77 198.51.100.9 5 OK",   // in from the client
		w.eni+" 10.0.0.1 198.51.100.9 10.0.0.1 198.51.100.9 7 OK", // out, under its own address
		w.eni+" 10.0.0.1 10.0.0.2 10.0.0.1 192.0.2.50 11 OK",      // its own, through a NAT gateway
		"- 10.0.0.1 10.0.0.2 10.0.0.1 192.0.2.51 1000 OK", "eni-x 10.0.0.1 10.0.0.2 10.0.0.1 192.0.2.52 1000 OK"))
	got := map[string]int64{}
	talk := w.read(flowlogs.Reader{Since: at, Until: awsfake.Start})
	for _, p := range talk.Peers {
		got[p.Address.String()] = p.In + p.Out
	}
	if diff := cmp.Diff(map[string]int64{"10.0.0.77": 5, "198.51.100.9": 7, "192.0.2.50": 11}, got); diff != "" {
		t.Error(diff)
	}
	if len(talk.Missing) != 2 || !strings.Contains(talk.Missing[0], "fl-1 does not record when") || !strings.Contains(talk.Missing[1], "does not record what was rejected") {
		t.Errorf("%q", talk.Missing)
	}
}

// A flow that began before the time and went on into it counts, in a log group too, where lines stand at the time of their beginning.
func TestBegun(t *testing.T) {
	w := newWorld(t)
	since := awsfake.Start.Add(-time.Hour)
	w.log(vpcLog("fl-1"))
	w.cloud.Edit(func() {
		for i, at := range []time.Time{since.Add(-30 * time.Second), since.Add(-5 * time.Minute)} {
			w.r.Logs["fl-1"] = append(w.r.Logs["fl-1"], awsfake.LogLine{Stream: w.eni + "-all", Time: at, Message: w.at(w.eni, "192.0.2.1", "10.0.0.1", 10+i, at)})
		}
	})
	if got := w.read(flowlogs.Reader{Since: since}); len(got.Peers) != 1 || got.Peers[0].In != 10 || got.Logs[0].Lines != 1 {
		t.Errorf("%+v", got)
	}
}

// A line of an interface that the instance no longer has is its own where the line has its id; of an address that it no longer has, it is counted.
func TestMoved(t *testing.T) {
	w := newWorld(t)
	w.target.Created = time.Time{}
	l, b := s3Log("fl-1"), w.r.AddBucket("flows")
	l.Format = "${interface-id} ${instance-id} ${srcaddr} ${dstaddr} ${bytes} ${start} ${end} ${action} ${log-status}"
	w.log(l)
	at := awsfake.Start.Add(-time.Hour)
	when := fmt.Sprintf("%d %d ACCEPT OK", at.Unix(), at.Add(time.Minute).Unix())
	w.put(b, l, at, packed("interface-id instance-id srcaddr dstaddr bytes start end action log-status",
		"eni-gone i-00000001 192.0.2.1 10.0.0.1 5 "+when, w.eni+" - 192.0.2.1 10.0.0.1 6 "+when, w.eni+" i-00000001 10.0.0.1 10.0.0.1 1 "+when,
		"eni-gone i-00000001 192.0.2.2 10.0.0.66 7 "+when, "eni-other i-other 192.0.2.3 10.0.0.66 8 "+when))
	got := w.read(flowlogs.Reader{Since: at, Until: awsfake.Start})
	if len(got.Peers) != 1 || got.Peers[0].In != 11 || got.Logs[0].Others != 1 || len(got.Missing) != 1 || !strings.Contains(got.Missing[0], "of 4 lines of the instance's interfaces 1 have none") {
		t.Errorf("%+v", got)
	}
}

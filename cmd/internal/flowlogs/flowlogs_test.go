package flowlogs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/flowlogs"
	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

const (
	own       = "111122223333"
	responder = "arn:aws:iam::" + own + ":role/responder"
)

// A world is a VPC with a target.
type world struct {
	*testing.T
	cloud  *awsfake.Cloud
	r      *awsfake.Region
	target *inventory.Instance
	eni    string
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, cloud: awsfake.New()}
	t.Cleanup(w.cloud.Close)
	w.r = w.cloud.Account(own).Region("eu-west-1")
	w.r.AddVPC(awsfake.VPC{ID: "vpc-00000001"})
	subnet := w.r.AddSubnet("vpc-00000001")
	w.r.AddInstance(awsfake.Instance{ID: "i-00000001"}, subnet.ID)
	for id, e := range w.r.Interfaces {
		w.eni, e.PrivateIP = id, "10.0.0.1"
	}
	w.find()
	w.r.Logs = map[string][]awsfake.LogLine{}
	return w
}

// find has the target as it is told now.
func (w *world) find() {
	w.Helper()
	a := w.accounts()
	s, err := hosts.ParseSelector("i-00000001")
	if err != nil {
		w.Fatal(err)
	}
	found, err := (&inventory.Finder{Config: a.Config}).Find(w.Context(), []hosts.Selector{s})
	if err != nil || len(found.Instances) != 1 {
		w.Fatal(found, err)
	}
	w.target = found.Instances[0]
}

func (w *world) accounts() *awsconfig.Accounts {
	return &awsconfig.Accounts{Base: w.cloud.Config(responder, "eu-west-1"), NoIMDS: true}
}

// log has a flow log of the VPC record lines, an hour ago and on.
func (w *world) log(l awsfake.FlowLog, lines ...string) {
	w.cloud.Edit(func() {
		w.r.Posture.FlowLogs = append(w.r.Posture.FlowLogs, l)
		for i, m := range lines {
			w.r.Logs[l.Group] = append(w.r.Logs[l.Group], awsfake.LogLine{Stream: w.eni + "-" + strings.ToLower(l.Traffic), Time: awsfake.Start.Add(time.Duration(i-60) * time.Minute), Message: m})
		}
	})
}

// read reads the logs; of an hour and a bit before the start, unless r says otherwise.
func (w *world) read(r flowlogs.Reader) *flowlogs.Talk {
	w.Helper()
	r.Config = w.accounts().Config
	if r.Since.IsZero() {
		r.Since = awsfake.Start.Add(-65 * time.Minute)
	}
	if r.Until.IsZero() {
		r.Until = awsfake.Start
	}
	t, err := r.Of(w.Context(), w.target)
	if err != nil {
		w.Fatal(err)
	}
	return t
}

func line(from, to string, fromPort, toPort, bytes int, at time.Time, action string) string {
	return fmt.Sprintf("2 %s eni-x %s %s %d %d 6 10 %d %d %d %s OK", own, from, to, fromPort, toPort, bytes, at.Unix(), at.Add(time.Minute).Unix(), action)
}

// Flows are summed up by peer, over pages of which some are empty; what was rejected, of others, or of other streams does not count.
func TestPeers(t *testing.T) {
	w := newWorld(t)
	at := awsfake.Start.Add(-time.Hour)
	w.log(awsfake.FlowLog{ID: "fl-1", On: "vpc-00000001", Traffic: "ALL", Group: "flows", Format: flowlogs.DefaultFormat},
		line("198.51.100.7", "10.0.0.1", 50123, 22, 1000, at, "ACCEPT"),
		line("10.0.0.1", "198.51.100.7", 22, 50123, 9000, at.Add(time.Minute), "ACCEPT"),
		line("10.0.0.1", "10.0.0.2", 40000, 443, 300, at, "ACCEPT"),
		line("203.0.113.5", "10.0.0.1", 50000, 23, 99, at, "REJECT"),
		line("10.0.0.8", "10.0.0.9", 1, 2, 77, at, "ACCEPT"),
		"2 "+own+" eni-x - - - - - - - 1795312800 1795312860 - NODATA", "rubbish", strings.Repeat("x", 5000), "2 "+own+" eni-x - - - - - - - 1795312800 1795312860 - SKIPDATA")
	w.cloud.Edit(func() {
		w.r.Logs["flows"] = append(w.r.Logs["flows"], awsfake.LogLine{Stream: "eni-other-all", Time: at, Message: line("192.0.2.1", "10.0.0.1", 1, 2, 5, at, "ACCEPT")})
		w.cloud.PageSize = 3
	})
	got := w.read(flowlogs.Reader{})
	var peers []string
	for _, p := range got.Peers {
		peers = append(peers, fmt.Sprintf("%s in %d out %d %s-%s %q %q", p.Address, p.In, p.Out, p.First.Format("15:04"), p.Last.Format("15:04"), p.Ports, p.Own))
	}
	if diff := cmp.Diff([]string{
		`198.51.100.7 in 1000 out 9000 02:00-02:02 ["tcp/22 of the instance"] ["10.0.0.1"]`,
		`10.0.0.2 in 0 out 300 02:00-02:01 ["tcp/443 of it"] ["10.0.0.1"]`,
	}, peers); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"fl-1: of 9 lines 1 are SKIPDATA: AWS lost flows",
		"fl-1: of 9 lines of the instance's interfaces 1 have none of the addresses that it has now: who talked to those that it had before is not among the peers", "fl-1: of 9 lines 2 cannot be read by its format"}, got.Missing); diff != "" || got.Logs[0].Lines != 9 {
		t.Errorf("%+v\n%s", got.Logs, diff)
	}
	if late := w.read(flowlogs.Reader{Since: awsfake.Start}); len(late.Peers) > 0 {
		t.Errorf("%+v", late.Peers)
	}
}

// A format of one's own is read by its fields; the packet's own addresses count where they are recorded.
func TestFormats(t *testing.T) {
	w := newWorld(t)
	w.log(awsfake.FlowLog{ID: "fl-1", On: "vpc-00000001", Traffic: "ACCEPT", Group: "flows", Format: "${bytes} ${pkt-dstaddr} ${dstaddr} ${srcaddr} ${pkt-srcaddr} ${flow-direction} ${new-one}"},
		"55 10.0.0.1 10.0.0.1 10.0.0.254 2001:db8::1 ingress ?", "7 - 10.0.0.1 10.0.0.3 - ingress", "5 - - - - - -")
	got := w.read(flowlogs.Reader{})
	if len(got.Peers) != 2 || got.Peers[0].Address.String() != "2001:db8::1" || got.Peers[0].In != 55 || got.Peers[1].Address.String() != "10.0.0.3" ||
		len(got.Missing) != 1 || !strings.Contains(got.Missing[0], "of 3 lines 1 have no flow, and its format has no log-status") {
		t.Errorf("%+v", got)
	}
}

// What is not known is said: no flow log, one elsewhere, one that tells nothing, bounds, and refusals.
func TestMissing(t *testing.T) {
	for name, c := range map[string]struct {
		logs  []awsfake.FlowLog
		r     flowlogs.Reader
		fault string
		want  string
	}{
		"none":      {nil, flowlogs.Reader{}, "", "there is no flow log of vpc-00000001"},
		"rejects":   {[]awsfake.FlowLog{{ID: "fl-1", On: "vpc-00000001", Traffic: "REJECT", Group: "flows"}}, flowlogs.Reader{}, "", "rejected alone"},
		"addresses": {[]awsfake.FlowLog{{ID: "fl-1", On: "vpc-00000001", Traffic: "ALL", Group: "flows", Format: "${bytes}"}}, flowlogs.Reader{}, "", "does not record who talked to whom"},
		"no group":  {[]awsfake.FlowLog{{ID: "fl-1", On: "vpc-00000001", Traffic: "ALL", Group: "gone"}}, flowlogs.Reader{}, "", "log group does not exist"},
		"delivery":  {[]awsfake.FlowLog{{ID: "fl-1", On: "vpc-00000001", Traffic: "ALL", Group: "flows", Error: "Access error"}}, flowlogs.Reader{}, "", "not delivered whole: Access error"},
		"bytes":     {[]awsfake.FlowLog{{ID: "fl-1", On: "vpc-00000001", Traffic: "ALL", Group: "flows"}}, flowlogs.Reader{Bytes: 10}, "", "more than 10 bytes"},
		"time":      {[]awsfake.FlowLog{{ID: "fl-1", On: "vpc-00000001", Traffic: "ALL", Group: "flows"}}, flowlogs.Reader{Time: time.Nanosecond}, "", "took more than 1ns"},
		"action":    {[]awsfake.FlowLog{{ID: "fl-1", On: "vpc-00000001", Traffic: "ALL", Group: "flows"}}, flowlogs.Reader{}, "", "fl-1 does not record what was rejected"},
		"retention": {[]awsfake.FlowLog{{ID: "fl-1", On: "vpc-00000001", Traffic: "ALL", Group: "flows"}}, flowlogs.Reader{}, "logs:DescribeLogGroups", "how long flows keeps lines: permission missing"},
		"denied":    {nil, flowlogs.Reader{}, "ec2:DescribeFlowLogs", "which flow logs there are: permission missing"},
		"no lines":  {[]awsfake.FlowLog{{ID: "fl-1", On: "vpc-00000001", Traffic: "ALL", Group: "flows"}}, flowlogs.Reader{}, "logs:FilterLogEvents", "fl-1: permission missing"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.cloud.Edit(func() {
				w.r.Logs["flows"] = []awsfake.LogLine{{Stream: w.eni + "-all", Time: awsfake.Start.Add(-time.Minute), Message: strings.Repeat("y", 20)}}
				w.cloud.Fault = func(call *awsfake.Call) awsfake.Fault {
					if call.Action == c.fault {
						return awsfake.Fault{Error: awsfake.Denied(call)}
					}
					return awsfake.Fault{}
				}
			})
			for _, l := range c.logs {
				w.log(l)
			}
			if got := strings.Join(w.read(c.r).Missing, "\n"); !strings.Contains(got, c.want) {
				t.Errorf("%q has no %q", got, c.want)
			}
		})
	}
}

// TestPolicy: docs/inventory-flows-policy.json is what is needed beside the policy of the inventory, and no more.
func TestPolicy(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/inventory-flows-policy.json")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	if err := w.cloud.Restrict(responder, doc); err != nil {
		t.Fatal(err)
	}
	w.cloud.Reset()
	if got := w.read(flowlogs.Reader{}); len(got.Missing) != 1 { // without a log, others are looked for
		t.Errorf("%q", got.Missing)
	}
	w.log(awsfake.FlowLog{ID: "fl-1", On: "vpc-00000001", Traffic: "ALL", Group: "flows", Format: flowlogs.DefaultFormat}, line("192.0.2.1", "10.0.0.1", 1, 2, 5, awsfake.Start, "ACCEPT"))
	second, at := s3Log("fl-2"), awsfake.Start.Add(-time.Hour)
	second.On, second.Format = w.eni, flowlogs.DefaultFormat+" ${pkt-srcaddr}"
	w.log(second)
	w.put(w.r.AddBucket("flows"), second, at, packed(head, w.at(w.eni, "192.0.2.1", "10.0.0.1", 10, at)))
	if got := w.read(flowlogs.Reader{Since: at, Until: awsfake.Start}); len(got.Missing) > 0 {
		t.Errorf("%q", got.Missing)
	}
	var p awsfake.Policy
	if err := json.Unmarshal(doc, &p); err != nil {
		t.Fatal(err)
	}
	if missing, unused := p.Sum("Flows", w.cloud.Calls()); len(missing) > 0 || len(unused) > 0 {
		t.Errorf("missing %q, unused %q", missing, unused)
	}
}

package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// The instances that talked to the target are listed with what they moved, and the addresses of none; without a flow log that is said.
func TestInventoryFlows(t *testing.T) {
	cloud := newEC2Test(t)
	do := func(want int, args ...string) (string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"shotglass", "inventory"}, args...), strings.NewReader(""), &out, &errs); code != want {
			t.Errorf("%q: exit code %d, want %d\n%s%s", args, code, want, &out, &errs)
		}
		return out.String(), errs.String()
	}
	_, none := do(exitPartial, "--related", "i-00000001", "--flows", "24h")
	if !strings.Contains(none, "there is no flow log of") {
		t.Error(none)
	}
	do(exitUsage, "--flows", "24h")
	do(exitUsage, "--related", "i-00000001", "--flows", "then")
	do(exitUsage, "--related", "i-00000001", "--flows-max", "1G")
	do(exitUsage, "--related", "i-00000001", "--flows", "24h", "--flows-max", "much")

	r := cloud.Account("111122223333").Region("eu-west-1")
	cloud.Edit(func() {
		var eni, own, other string
		for id, e := range r.Interfaces {
			switch e.Instance {
			case "i-00000001":
				eni, own = id, e.PrivateIP
			case "i-00000002":
				other = e.PrivateIP
			}
		}
		r.Posture.FlowLogs = []awsfake.FlowLog{{ID: "fl-1", On: r.Interfaces[eni].VPC, Traffic: "ALL", Group: "g", Format: "${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${bytes} ${action} ${log-status}"}}
		r.Logs = map[string][]awsfake.LogLine{"g": {
			{Stream: eni + "-all", Time: time.Now(), Message: other + " " + own + " 40000 22 6 2048 ACCEPT OK"},
			{Stream: eni + "-all", Time: time.Now(), Message: own + " 198.51.100.99 40001 443 6 4096 ACCEPT OK"},
		}}
		for ago := time.Duration(0); ago < 25*time.Hour; ago += 30 * time.Minute {
			r.Logs["g"] = append(r.Logs["g"], awsfake.LogLine{Stream: eni + "-all", Time: time.Now().Add(-ago), Message: "- - - - - - - NODATA"})
		}
	})
	if _, errs := do(exitPartial, "--related", "i-00000001", "--flows", "24h", "--flows-max", "50"); !strings.Contains(errs, "more than 50 bytes") {
		t.Error(errs)
	}
	out, errs := do(exitOK, "--related", "i-00000001", "--flows", "24h")
	if !strings.Contains(errs, "fl-1: the log group g stores ") || !strings.Contains(errs, "no more than 1.0 GiB (--flows-max)") {
		t.Error(errs)
	}
	for _, want := range []string{"i-00000002", "2.0 KiB to the target, 0 B from it", "tcp/22 of the instance", "TALKED TO ADDRESSES OF NO INSTANCE", "198.51.100.99", "4.0 KiB out"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	out, _ = do(exitOK, "--json", "--related", "i-00000001", "--flows", "24h")
	for _, want := range []string{`"message_type":"flow_log","id":"fl-1"`, `"instances":["i-00000002"]`, `"address":"198.51.100.99"`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

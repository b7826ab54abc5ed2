package flowlogs_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"github.com/shotglass-ir/shotglass/cmd/internal/flowlogs"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

const head = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"

// s3Log is one that goes to a bucket.
func s3Log(id string) awsfake.FlowLog {
	return awsfake.FlowLog{ID: id, On: "vpc-00000001", Traffic: "ALL", Bucket: "arn:aws:s3:::flows/net/", Format: flowlogs.DefaultFormat}
}

func packed(lines ...string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprintln(z, strings.Join(lines, "\n"))
	z.Close() //nolint:errcheck // a buffer takes all
	return b.Bytes()
}

// at is a line of an interface.
func (w *world) at(eni, from, to string, bytes int, at time.Time) string {
	return strings.Replace(line(from, to, 50000, 22, bytes, at, "ACCEPT"), "eni-x", eni, 1)
}

// put puts a file of a log into the bucket, as the log's options have it.
func (w *world) put(b *awsfake.Bucket, l awsfake.FlowLog, at time.Time, body []byte) string {
	dir := "net/AWSLogs/" + own + "/vpcflowlogs/eu-west-1/" + at.Format("2006/01/02/")
	if l.Hive {
		dir = "net/AWSLogs/aws-account-id=" + own + "/aws-service=vpcflowlogs/aws-region=eu-west-1/" + at.Format("year=2006/month=01/day=02/")
	}
	if l.Hourly && l.Hive {
		dir += at.Format("hour=15/")
	} else if l.Hourly {
		dir += at.Format("15/")
	}
	key := dir + own + "_vpcflowlogs_eu-west-1_" + l.ID + "_" + at.Format("20060102T1504Z") + "_abc123.log."
	if l.Parquet {
		key += "parquet"
	} else {
		key += "gz"
	}
	w.cloud.Edit(func() {
		if b.Objects == nil {
			b.Objects = map[string][]byte{}
		}
		b.Objects[key] = body
	})
	return key
}

// A log in S3 is read in every order of its files, over days and pages: of its lines those of the instance's interfaces, of its files those of the log and the time.
func TestBucket(t *testing.T) {
	for name, l := range map[string]awsfake.FlowLog{
		"plain": {}, "hive": {Hive: true}, "hourly": {Hourly: true}, "both": {Hive: true, Hourly: true}, "elsewhere": {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.target.Created = time.Time{}
			w.cloud.PageSize = 2
			of := s3Log("fl-1")
			of.Hive, of.Hourly = l.Hive, l.Hourly
			w.log(of)
			region := w.r
			if name == "elsewhere" {
				region = w.cloud.Account(own).Region("us-east-1")
			}
			b := region.AddBucket("flows")
			since := awsfake.Start.Add(-6 * time.Hour) // the day before
			for at := since; at.Before(awsfake.Start); at = at.Add(30 * time.Minute) {
				w.put(b, of, at, packed(head, w.at(w.eni, "192.0.2.1", "10.0.0.1", 10, at), w.at("eni-peer", "192.0.2.1", "10.0.0.1", 1000, at)))
			}
			w.put(b, of, since.Add(-time.Hour), packed(head, w.at(w.eni, "192.0.2.1", "10.0.0.1", 100000, since.Add(-time.Hour))))
			w.put(b, of, since.Add(-10*time.Minute), packed(head, w.at(w.eni, "192.0.2.1", "10.0.0.1", 100000, since.Add(-10*time.Minute))))
			w.put(b, s3Log("fl-2"), since, packed(head, w.at(w.eni, "192.0.2.1", "10.0.0.1", 100000, since)))
			got := w.read(flowlogs.Reader{Since: since, Until: awsfake.Start})
			if len(got.Missing) > 0 || len(got.Peers) != 1 || got.Peers[0].In != 120 || got.Peers[0].Flows != 12 || got.Logs[0].Lines != 12 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// What a log in S3 does not tell is said: times without a file, files that are broken, gone or none, bounds, refusals, Parquet.
func TestBucketMissing(t *testing.T) {
	since := awsfake.Start.Add(-2 * time.Hour)
	for name, c := range map[string]struct {
		edit func(*world, *awsfake.Bucket, *awsfake.FlowLog)
		r    flowlogs.Reader
		want []string
		in   int64
	}{
		"whole": {in: 50},
		"hole": {edit: func(w *world, b *awsfake.Bucket, l *awsfake.FlowLog) {
			w.cloud.Edit(func() {
				for k := range b.Objects {
					if !strings.Contains(k, "T0100Z") && !strings.Contains(k, "T0300Z") {
						delete(b.Objects, k)
					}
				}
			})
		}, want: []string{"fl-1 has no file of 2026-11-22T01:00:00Z to 2026-11-22T03:00:00Z in arn:aws:s3:::flows/net/"}, in: 20},
		"empty": {edit: func(w *world, b *awsfake.Bucket, l *awsfake.FlowLog) { w.cloud.Edit(func() { clear(b.Objects) }) },
			want: []string{"fl-1 has no file of 2026-11-22T01:00:00Z to 2026-11-22T03:00:00Z in"}},
		"broken": {edit: func(w *world, b *awsfake.Bucket, l *awsfake.FlowLog) {
			whole := packed(head, w.at(w.eni, "192.0.2.1", "10.0.0.1", 10, since))
			w.put(b, *l, since.Add(30*time.Minute), whole[:len(whole)-4])
		}, want: []string{"fl-1: of 5 files 1 could not be read whole: \"net/AWSLogs/", "unexpected EOF"}, in: 50},
		"no head": {edit: func(w *world, b *awsfake.Bucket, l *awsfake.FlowLog) {
			w.put(b, *l, since.Add(30*time.Minute), packed("rubbish", "more"))
		}, want: []string{"its first line does not name the fields"}, in: 40},
		"long": {edit: func(w *world, b *awsfake.Bucket, l *awsfake.FlowLog) {
			w.put(b, *l, since.Add(30*time.Minute), packed(head, "2 "+own+" "+w.eni+" "+strings.Repeat("x", 20000), w.at(w.eni, "192.0.2.1", "10.0.0.1", 10, since)))
		}, want: []string{"fl-1: of 6 lines 1 cannot be read"}, in: 50},
		"bomb": {edit: func(w *world, b *awsfake.Bucket, l *awsfake.FlowLog) {
			w.put(b, *l, since.Add(30*time.Minute), packed(head, strings.Repeat(w.at("eni-peer", "192.0.2.1", "10.0.0.1", 10, since)+"\n", 1<<15)))
		}, r: flowlogs.Reader{Bytes: 100000}, want: []string{"fl-1: more than 100000 bytes: the rest was not read"}, in: -1},
		"skipped": {edit: func(w *world, b *awsfake.Bucket, l *awsfake.FlowLog) {
			w.put(b, *l, since.Add(30*time.Minute), packed(head, "2 "+own+" "+w.eni+" - - - - - - - 1795312800 1795312860 - SKIPDATA", "2 "+own+" eni-peer - - - - - - - 1795312800 1795312860 - SKIPDATA"))
		}, want: []string{"fl-1: of 5 lines 1 are SKIPDATA"}, in: 40},
		"no bucket": {edit: func(w *world, b *awsfake.Bucket, l *awsfake.FlowLog) { l.Bucket = "arn:aws:s3:::gone" }, want: []string{"fl-1: list gone:", "NoSuchBucket"}},
		"firehose": {edit: func(w *world, b *awsfake.Bucket, l *awsfake.FlowLog) {
			l.Bucket = "arn:aws:firehose:eu-west-1:1:deliverystream/x"
		}, want: []string{`fl-1 was not read: it goes to the Firehose stream "x" of account 1 in eu-west-1`, "--region eu-west-1 --delivery-stream-name x --query"}},
		"both ends": {edit: func(w *world, b *awsfake.Bucket, l *awsfake.FlowLog) {
			l.Format = "${srcaddr} ${dstaddr} ${start} ${action} ${log-status}"
		},
			want: []string{"fl-1 records neither interface-id nor instance-id"}, in: 50},
		"denied":  {edit: func(w *world, _ *awsfake.Bucket, _ *awsfake.FlowLog) { w.deny("s3:GetObject") }, want: []string{"fl-1: permission missing: \"net/AWSLogs/"}},
		"no list": {edit: func(w *world, _ *awsfake.Bucket, _ *awsfake.FlowLog) { w.deny("s3:ListBucket") }, want: []string{"fl-1: permission missing: list flows"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.target.Created = time.Time{}
			l, b := s3Log("fl-1"), w.r.AddBucket("flows")
			for at := since; !at.After(awsfake.Start); at = at.Add(30 * time.Minute) {
				w.put(b, l, at, packed(head, w.at(w.eni, "192.0.2.1", "10.0.0.1", 10, at)))
			}
			if c.edit != nil {
				c.edit(w, b, &l)
			}
			w.log(l)
			c.r.Since, c.r.Until = since, awsfake.Start
			got := w.read(c.r)
			all := strings.Join(got.Missing, "\n")
			for _, want := range c.want {
				if !strings.Contains(all, want) {
					t.Errorf("no %q in %q", want, all)
				}
			}
			if len(got.Missing) > 1 || len(c.want) == 0 && all != "" {
				t.Errorf("%q", got.Missing)
			}
			var in int64
			for _, p := range got.Peers {
				in += p.In
			}
			if c.in >= 0 && in != c.in {
				t.Errorf("%d bytes, want %d", in, c.in)
			}
		})
	}
}

// deny refuses an action.
func (w *world) deny(action string) {
	w.cloud.Edit(func() {
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if c.Action == action {
				return awsfake.Fault{Error: awsfake.Denied(c)}
			}
			return awsfake.Fault{}
		}
	})
}

// Of a log in S3 and one in CloudWatch Logs on one VPC the second is not needed, and what it does not have does not matter.
func TestBucketSecond(t *testing.T) {
	w := newWorld(t)
	w.target.Created = time.Time{}
	at := awsfake.Start.Add(-time.Hour)
	w.log(vpcLog("fl-1"), w.at(w.eni, "192.0.2.1", "10.0.0.1", 10, at))
	w.log(s3Log("fl-2"))
	if got := w.read(flowlogs.Reader{Until: awsfake.Start}); len(got.Missing) > 0 || len(got.Peers) != 1 || got.Peers[0].In != 10 {
		t.Errorf("%+v", got)
	}
	// Where the first lost some, both are read.
	w.cloud.Edit(func() {
		w.r.Logs["fl-1"] = append(w.r.Logs["fl-1"], awsfake.LogLine{Stream: w.eni + "-all", Time: at, Message: "2 " + own + " " + w.eni + " - - - - - - - 1795312800 1795312860 - SKIPDATA"})
	})
	b := w.r.AddBucket("flows")
	w.put(b, s3Log("fl-2"), at, packed(head, w.at(w.eni, "192.0.2.1", "10.0.0.1", 10, at), w.at(w.eni, "192.0.2.1", "10.0.0.1", 20, at)))
	got := w.read(flowlogs.Reader{Since: at, Until: awsfake.Start})
	if diff := cmp.Diff([]string{"fl-1: of 2 lines 1 are SKIPDATA: AWS lost flows"}, got.Missing); diff != "" || len(got.Peers) != 1 || got.Peers[0].In != 30 {
		t.Errorf("%s%+v", diff, got)
	}
}

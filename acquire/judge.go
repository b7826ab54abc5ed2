package acquire

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// Names of the checks that Manifest.Complete rests on.
const (
	checkStream    = "stream"    // the source ended it, not a fault
	checkRecords   = "records"   // every LiME record is whole, nothing follows
	checkRanges    = "ranges"    // the records are the System RAM of /proc/iomem
	checkBanner    = "banner"    // the kernel's banner lies at its place
	checkZeroFill  = "zero fill" // zeros are memory's, not the module's
	checkParameter = "parameter" // LiME ran without its timeout
	checkPeer      = "peer"      // LiME served our SSH server
	checkStored    = "stored"    // the sink took every byte
	checkInsmod    = "insmod"    // the module's own exit: it was not killed, it did not fail
	checkRead      = "read"      // /proc/kcore gave every page
	checkLayout    = "layout"    // memory lay in /proc/kcore after the capture as before
)

// needleBanner and needleRelease name what the walker looks for.
const (
	needleBanner  = "linux_banner"
	needleRelease = "OSRELEASE"
)

// judgement is what there is to judge a capture by.
type judgement struct {
	source     string
	facts      *Facts
	rep        *lime.Report
	walkErr    error // what the structure lacks
	srcErr     error // why the stream ended early
	sinkErr    error // why the sink took no more
	samples    *samples
	doubtful   []uint64
	params     []string
	peer       *Peer
	insmod     string // exit status, empty when not known
	kcore      *KcoreUse
	unreadable *Unreadable
	stalls     []time.Duration
	clockSet   time.Duration
}

// checks runs all tests. The image is complete when none of them fails and none that
// matters is unknown.
func (j *judgement) checks() (checks []Check, complete bool, reasons []string) {
	add := func(c Check) {
		checks = append(checks, c)
	}
	verdict := func(name string, err error, good string) {
		if err != nil {
			add(Check{name, Fail, err.Error()})
			return
		}
		add(Check{name, Pass, good})
	}
	verdict(checkStream, j.srcErr, "the target ended the stream")
	verdict(checkStored, j.sinkErr, "every byte was stored")
	verdict(checkRecords, j.walkErr, fmt.Sprintf("%d records, all whole", len(j.rep.Ranges)))
	add(j.ranges())
	add(j.banner())
	zero, param := j.zeroFill(), j.parameter()
	add(zero)
	switch j.source {
	case MethodKcore:
		add(j.read())
		add(j.layout())
	case MethodAvml:
		add(j.leftOut())
	default:
		add(param)
		if j.peer != nil {
			c := Check{checkPeer, Pass, j.peer.Detail}
			if !j.peer.Verified {
				c.Result = Fail
			}
			add(c)
		}
		add(j.insmodExit())
	}
	complete = true
	for _, c := range checks {
		bad := c.Result == Fail
		if c.Result == Unknown {
			switch c.Name {
			case checkZeroFill: // without a look at live memory, LiME's parameter excludes its zero fill
				bad = param.Result != Pass && j.source != MethodKcore && j.source != MethodAvml // which fill nothing by themselves
			case checkParameter: // and the other way round
				bad = zero.Result != Pass
			case checkInsmod: // its exit says little, and the connection is needed to learn it
			default:
				bad = true
			}
		}
		if bad {
			complete = false
			reasons = append(reasons, c.Name+": "+c.Detail)
		}
	}
	return checks, complete, reasons
}

// insmodExit: LiME's init returns 0 also after a failure, but a killed insmod, or one that
// never loaded anything, says so.
func (j *judgement) insmodExit() Check {
	switch j.insmod {
	case "":
		return Check{checkInsmod, Unknown, "the target did not tell insmod's exit status"}
	case "0":
		return Check{checkInsmod, Pass, "insmod exited 0"}
	}
	return Check{checkInsmod, Fail, fmt.Sprintf("insmod exited %q", j.insmod)}
}

func (j *judgement) ranges() Check {
	diffs := j.rep.Compare(j.facts.RAM)
	if len(diffs) == 0 {
		return Check{checkRanges, Pass, fmt.Sprintf("the records cover the %d ranges of System RAM, %d bytes, as /proc/iomem said", len(j.facts.RAM), j.facts.RAMBytes)}
	}
	var s []string
	for _, d := range diffs {
		s = append(s, d.String())
	}
	return Check{checkRanges, Fail, strings.Join(s, "; ")}
}

func (j *judgement) zeroFill() Check {
	if j.samples == nil {
		return Check{checkZeroFill, Unknown, "live memory could not be sampled: /proc/kcore is not readable or does not match System RAM"}
	}
	pages := j.doubtful
	if j.unreadable != nil { // these are zeros, and counted as that
		pages = slices.DeleteFunc(slices.Clone(pages), func(p uint64) bool {
			return slices.ContainsFunc(j.unreadable.Ranges, func(r lime.Range) bool { return p >= r.Start && p <= r.End })
		})
	}
	return j.samples.judge(j.source, j.rep, pages)
}

// read: every byte was counted as it came, so only pages that were refused can be missing.
func (j *judgement) read() Check {
	u := j.unreadable
	switch {
	case u == nil || j.kcore == nil:
		return Check{checkRead, Unknown, "nothing is known of how /proc/kcore was read"}
	case u.Pages == 0:
		return Check{checkRead, Pass, "/proc/kcore gave every page; pages that the kernel withholds without an error read as zeros"}
	}
	c := Check{checkRead, Fail, fmt.Sprintf("%d pages could not be read and are zeros in the image, the first at %s; --accept-unreadable accepted %d",
		u.Pages, lime.Addr(u.Ranges[0].Start), u.Accepted)}
	if u.Pages <= u.Accepted {
		c.Result = Pass
	}
	return c
}

// leftOut: AVML leaves out pieces that are all zeros, and more. Nobody can tell the ones from the
// others here.
func (j *judgement) leftOut() Check {
	u := j.unreadable
	switch {
	case u == nil:
		return Check{checkRead, Unknown, "nothing is known of what AVML read"}
	case u.Pages == 0:
		return Check{checkRead, Pass, "AVML left nothing out"}
	}
	c := Check{checkRead, Fail, fmt.Sprintf("AVML left %d pages out, which are zeros in the image, the first at %s; --accept-unreadable accepted %d",
		u.Pages, lime.Addr(u.Ranges[0].Start), u.Accepted)}
	if u.Pages <= u.Accepted {
		c.Result = Pass
	}
	return c
}

// layout: memory that is added or removed during a capture moves what /proc/kcore shows.
func (j *judgement) layout() Check {
	switch {
	case j.kcore == nil || j.kcore.Layout == "":
		return Check{checkLayout, Unknown, "nobody could look whether memory lay in /proc/kcore after the capture as before"}
	case j.kcore.Layout != "unchanged":
		return Check{checkLayout, Fail, "after the capture " + j.kcore.Layout}
	}
	return Check{checkLayout, Pass, fmt.Sprintf("System RAM and the %d segments of /proc/kcore are the same after the capture", j.kcore.Segments)}
}

func (j *judgement) parameter() Check {
	i := slices.IndexFunc(j.params, func(s string) bool { return strings.HasPrefix(s, "timeout=") })
	switch {
	case i < 0:
		return Check{checkParameter, Unknown, "LiME's timeout parameter could not be read back"}
	case j.params[i] != "timeout=0":
		return Check{checkParameter, Fail, fmt.Sprintf("LiME ran with %q: it fills with zeros when the reader pauses", j.params[i])}
	}
	return Check{checkParameter, Pass, "LiME ran with timeout=0, read back from the loaded module"}
}

// anomalies are what an analyst should know of an image, complete or not.
func (j *judgement) anomalies() []string {
	var out []string
	for _, r := range j.rep.Ranges {
		if r.ZeroTail >= 1<<20 && r.ZeroTail*16 >= r.Bytes {
			out = append(out, fmt.Sprintf("range %s ends with %d zero bytes", r.Range, r.ZeroTail))
		}
	}
	for _, d := range j.stalls {
		out = append(out, fmt.Sprintf("the stream stood still for %s", d.Round(time.Millisecond)))
	}
	if j.clockSet.Abs() > time.Second {
		out = append(out, fmt.Sprintf("the examiner's clock was set by %s during the capture, or that machine slept: the times of reading go on from its start", j.clockSet.Round(time.Millisecond)))
	}
	if used := j.facts.SwapUsed(); used > 0 {
		for _, s := range j.facts.Swap {
			if s.Used > 0 {
				out = append(out, fmt.Sprintf("%d bytes are swapped out to %s (%s) and are not in the image as pages", s.Used, s.Name, s.Type))
			}
		}
	}
	if j.facts.LA57 && !strings.Contains(" "+j.facts.Cmdline+" ", " no5lvl ") {
		out = append(out, "the CPU has five-level page tables (la57): Volatility 3 up to 2.11 finds no processes in such an image")
	}
	return out
}

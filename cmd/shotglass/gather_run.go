package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/cmd/internal/awsaccess"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/sink"
)

// How many instances are asked about at once, as EC2 throttles by account; and of how many of them CloudTrail is asked.
const (
	gatherParallel = 8
	trailParallel  = 4
)

// How long the configuration may take, with the question who asks; and how long memory and containment wait for AWS, from the start of all: an
// endpoint that does not answer must not keep an image from being taken.
const (
	configTime = 30 * time.Second
	readTime   = 2 * time.Minute
)

// beginTime is how long snapshots, which are of now, wait until it is stored that they are to be made.
const beginTime = 5 * time.Second

// gatherings are the instances of a run whose evidence is gathered. Nothing of it touches the instances.
type gatherings struct {
	o    *captureOptions
	list []*gathering
	say  func(string)
	log  func(audit.Entry)
	work sync.WaitGroup
	slow chan struct{} // as in cloudevidence.Gatherer

	mu   sync.Mutex
	left map[sink.Sink]func() *cloudevidence.Leavings // of other runs, by place, each asked once

	began    time.Time
	patience time.Duration // since then
	recorded time.Duration // snapshots wait for it: beginTime
	// alone says that they are all that the run does: the result has a line of each.
	alone bool
}

// A gathering is one instance.
type gathering struct {
	all    *gatherings
	host   string
	about  cloudevidence.About
	access awsaccess.Access
	place  cloudevidence.Place
	gatherOptions

	read chan struct{} // closed when what a change would change has been read, and snapshots have been begun

	mu    sync.Mutex // guards spare, code and errs while items are stored
	spare sink.Sink  // what is written to since the place failed
	state func() (*sink.Disk, error)

	// Once all is done:
	set    *cloudevidence.SnapshotSet // as it was begun; nil: nobody asked for it
	record *cloudevidence.Record      // nil: it was not stored
	stored records.Stored
	later  *cloudevidence.SnapshotRecord // nil: nobody waited for snapshots
	code   int
	errs   []error
}

func newGatherings(o *captureOptions) *gatherings {
	return &gatherings{o: o, say: func(string) {}, log: func(audit.Entry) {}, slow: make(chan struct{}, trailParallel), left: map[sink.Sink]func() *cloudevidence.Leavings{}, patience: readTime, recorded: beginTime}
}

func (all *gatherings) add(host string, i cloudevidence.Instance, access awsaccess.Access, options gatherOptions) *gathering {
	g := &gathering{
		all: all, host: host, access: access, gatherOptions: options, read: make(chan struct{}),
		about: cloudevidence.About{Case: all.o.Engine.Case, Operator: all.o.Engine.Operator, Tool: all.o.Engine.Tool, Host: host, Instance: i},
		state: sync.OnceValues(func() (*sink.Disk, error) {
			dir, err := stateDir()
			if err != nil {
				return nil, err
			}
			return sink.NewDisk(dir)
		}),
	}
	all.list = append(all.list, g)
	return g
}

// start begins with all instances, and returns at once.
func (all *gatherings) start(ctx context.Context, say func(string), log func(audit.Entry)) {
	if all == nil {
		return
	}
	all.say, all.log, all.began = func(line string) { say("shotglass: " + line) }, log, time.Now()
	slots := make(chan struct{}, gatherParallel)
	for _, g := range all.list {
		g.place.Signer = all.o.Engine.Signer
		all.work.Go(func() {
			slots <- struct{}{}
			free := sync.OnceFunc(func() { <-slots })
			defer free()
			g.run(ctx, free)
		})
	}
}

// finish waits until all is done, and returns the exit code.
func (all *gatherings) finish() int {
	code := exitOK
	if all == nil {
		return code
	}
	all.work.Wait()
	for _, g := range all.list {
		code = worse(code, g.code)
	}
	return code
}

// wait waits, for a host, until what a change would change has been read of these instances, and their snapshots have been begun. It goes on without those
// that AWS leaves without an answer, and says so.
func (all *gatherings) wait(ctx context.Context, host string, list ...*gathering) {
	limited, cancel := context.WithDeadline(ctx, all.began.Add(all.patience))
	defer cancel()
	var late []string
	for _, g := range list {
		select {
		case <-g.read:
			continue
		default:
		}
		select {
		case <-g.read:
		case <-limited.Done():
			late = append(late, g.host)
		}
	}
	if len(late) == 0 || ctx.Err() != nil {
		return
	}
	text := fmt.Sprintf("%s: error: it goes on before AWS has answered on %s, after %s: what is read of that later may show what this run changed", host, strings.Join(late, ", "), all.patience)
	all.say(text)
	all.log(audit.Entry{Event: "gather-late", Host: host, Message: text})
}

// before hangs the wait on a job. Who changes something waits for all instances, which may share what is changed, as a role; who only
// captures waits for its own, own, which may be nil.
func (all *gatherings) before(j *acquire.Job, own *gathering) {
	host := hostOf(*j)
	if before := j.Before; before != nil {
		j.Before = func(ctx context.Context) { all.wait(ctx, host, all.list...); before(ctx) }
	} else if own != nil {
		j.Before = func(ctx context.Context) { all.wait(ctx, host, own) }
	}
	if after := j.After; after != nil {
		j.After = func(ctx context.Context, r *acquire.Result) { all.wait(ctx, host, all.list...); after(ctx, r) }
	}
}

// trouble is what went wrong beside what stands.
func (g *gathering) trouble(err error) {
	g.errs, g.code = append(g.errs, err), worse(g.code, exitPartial)
}

// run gathers, stores, and waits for snapshots. free is called when AWS is not asked much any more.
func (g *gathering) run(ctx context.Context, free func()) {
	opened := sync.OnceFunc(func() { close(g.read) })
	defer opened()
	fail := func(err error) {
		g.trouble(err)
		g.all.log(audit.Entry{Event: "gathered", Host: g.host, State: string(acquire.StateFailed), Error: err.Error(), Message: "no record of what AWS has of " + g.host + ": " + err.Error()})
	}
	limited, cancel := context.WithTimeoutCause(ctx, configTime, fmt.Errorf("AWS's configuration took more than %s", configTime))
	defer cancel()
	accounts, err := g.access.Accounts(limited, g.about.Case)
	if err != nil {
		fail(err)
		return
	}
	if who, err := accounts.Caller(limited); err == nil {
		g.about.Caller = who.ARN
	}
	t := g.target()
	tool := &cloudevidence.Gatherer{Config: accounts.Config, Since: g.since, Pages: g.pages, Slow: g.all.slow}
	rec := &cloudevidence.Record{About: g.about, Begun: time.Now().UTC()}
	for _, k := range g.kinds {
		rec.Asked = append(rec.Asked, k.Name)
	}
	if g.snapshots {
		rec.Snapshots = g.snap.Plan(rec.Begun)
	}
	base := cloudevidence.BaseName(safeName(g.host), rec.Begun)
	keeping := cloudevidence.NewKeeping(base, *rec)
	g.all.say(g.host + ": asking AWS for " + g.names())
	var started, beside sync.WaitGroup
	begun := make(chan struct{})
	beside.Go(func() { defer close(begun); g.begin(keeping) })
	if g.snapshots {
		started.Go(func() {
			g.untilRecorded(begun)
			g.set = tool.Start(ctx, t, g.snap)
			g.tellBegun()
		})
	}
	beside.Go(func() { rec.Left = g.left(ctx, base) })
	got := tool.Read(ctx, t, g.kinds, func(it cloudevidence.Item, content []byte) { g.item(keeping, it, content) }, func() {
		started.Wait()
		opened()
		free() // CloudTrail, which is asked on, has a bound of its own
	})
	beside.Wait()
	rec.Snapshots = g.set
	if got.State != "" {
		rec.Instance.State, rec.Instance.Windows, rec.Instance.Name = got.State, got.Windows, got.Name
	}
	g.about.Instance = rec.Instance
	rec.Written = time.Now().UTC()
	if g.stored, err = g.keep(func(ctx context.Context, p cloudevidence.Place) (records.Stored, error) {
		return keeping.Store(ctx, p, rec, got)
	}); err != nil {
		fail(fmt.Errorf("%s was gathered, and there is no record of it, as it could not be stored: %w", g.names(), err))
		g.stored.Name = base + cloudevidence.Suffix
	} else {
		g.record = rec
		g.told(rec)
	}
	if set := g.set; set != nil && set.Error == "" {
		if g.wait > 0 {
			g.await(ctx, tool, t, set)
		} else {
			g.code = worse(g.code, exitPartial) // nobody knows what became of them
		}
	}
	if ctx.Err() != nil {
		g.code = worse(g.code, exitInterrupted)
	}
}

// untilRecorded waits until it is stored that snapshots are to be made, with the tag of their set: by that they are found should the run be killed. A place
// that does not answer keeps them waiting for a moment only.
func (g *gathering) untilRecorded(stored <-chan struct{}) {
	select {
	case <-stored:
	case <-time.After(g.all.recorded):
		text := fmt.Sprintf("%s: snapshots are made before their place has taken, within %s, that they are to be made: the tag of their set is %s", g.host, g.all.recorded, g.snap.Set)
		g.all.say(text)
		g.all.log(audit.Entry{Event: "gather-late", Host: g.host, Message: text})
	}
}

// tellBegun logs snapshots at once: AWS may be asked for minutes until there is a record of them.
func (g *gathering) tellBegun() {
	text := "snapshots of " + g.host + ": " + g.set.Error
	if g.set.Error == "" {
		text = fmt.Sprintf("snapshots of %s, tagged with the set %s: %s", g.host, g.set.Set, g.set.Progress())
	}
	g.all.log(audit.Entry{Event: "snapshotted", Host: g.host, Error: g.set.Error, Message: text})
}

// storeTime bounds the storing of what was gathered, which an interrupted run does, too.
const storeTime = 2 * time.Minute

// keep writes something by put, on this machine if its place does not take it. A record without its signature stands, with an error beside it.
func (g *gathering) keep(put func(context.Context, cloudevidence.Place) (records.Stored, error)) (records.Stored, error) {
	try := func(where sink.Sink) (records.Stored, error) {
		ctx, cancel := context.WithTimeout(context.Background(), storeTime)
		defer cancel()
		p := g.place
		p.Sink = where
		return put(ctx, p)
	}
	g.mu.Lock()
	where := g.spare
	g.mu.Unlock()
	if where != nil {
		done, err := try(where)
		if errors.Is(err, records.ErrUnsigned) {
			g.trouble(err)
			err = nil
		}
		return done, err
	}
	done, err := try(g.place.Sink)
	if err == nil {
		return done, nil
	}
	spare, serr := g.state()
	var there records.Stored
	if serr == nil {
		there, serr = try(spare)
	}
	switch half := errors.Is(serr, records.ErrUnsigned); {
	case errors.Is(err, records.ErrUnsigned) && serr != nil:
		if half {
			err = fmt.Errorf("%w; all of it lies a second time in %s, unsigned, too", err, spare)
		}
		g.trouble(err)
		return done, nil
	case serr == nil, half:
		g.elsewhere(spare, err)
		if half {
			g.trouble(serr)
		}
		return there, nil
	}
	return done, errors.Join(err, serr)
}

// elsewhere has everything from now on go to spare, as its place failed with err, and says so at once: a run that is killed would not say it in the end.
func (g *gathering) elsewhere(spare sink.Sink, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.spare != nil {
		return
	}
	g.spare = spare
	err = fmt.Errorf("its place did not take all of it, so that it lies in %s, from where it must be brought there: %w", spare, err)
	g.trouble(err)
	text := g.host + ": error: " + printable(err.Error())
	g.all.say(text)
	g.all.log(audit.Entry{Event: "gather-kept", Host: g.host, Location: fmt.Sprint(spare), Error: err.Error(), Message: text})
}

// told logs the record.
func (g *gathering) told(rec *cloudevidence.Record) {
	state := string(acquire.StateComplete)
	if !rec.Complete {
		state, g.code = string(acquire.StatePartial), worse(g.code, exitPartial)
	}
	g.logRecord("gathered", g.stored, state, rec.Reasons)
	n := 0
	for _, it := range rec.Items {
		if it.Error == "" {
			n++
		}
	}
	text := fmt.Sprintf("%s: gathered %d of %d items", g.host, n, len(rec.Items))
	if s := rec.Snapshots; s != nil && s.Error == "" {
		what := "begun"
		if s.Earlier {
			what = "of an earlier run of this case found"
		}
		text += fmt.Sprintf("; %s %s: %s", plural(len(s.Snapshots), "snapshot"), what, s.Progress())
	}
	g.all.say(text)
	for _, why := range rec.Reasons {
		g.all.say(g.host + ": not gathered: " + printable(why))
	}
}

// logRecord names a record in the audit log by its digest.
func (g *gathering) logRecord(event string, r records.Stored, state string, reasons []string) {
	m := audit.Record{Host: g.host, State: state, Name: r.Name, Location: r.Location, Digest: audit.Digest{Digest: r.Digest, Complete: state == string(acquire.StateComplete)}}
	g.all.log(audit.Entry{Event: event, Host: g.host, State: state, Reasons: reasons, Location: r.Location, Manifest: &m, Message: "record of what AWS has of " + g.host + ": " + r.Location + ", sha256 " + r.SHA256})
}

// tellEvery is how often it is told how far snapshots are, unless they get on.
const tellEvery = 30 * time.Second

// await waits for snapshots, and stores what became of them.
func (g *gathering) await(ctx context.Context, tool *cloudevidence.Gatherer, t containment.Target, begun *cloudevidence.SnapshotSet) {
	limited, cancel := context.WithTimeoutCause(ctx, g.wait, fmt.Errorf("they took longer than --snapshot-wait, %s", g.wait))
	defer cancel()
	set := begun.Clone()
	last, at := set.Progress(), time.Now()
	if err := tool.Await(limited, t, set, g.snap, func() {
		if now := set.Progress(); now != last || time.Since(at) > tellEvery {
			last, at = now, time.Now()
			g.all.say(g.host + ": snapshots: " + printable(now))
		}
	}); err != nil {
		set.Notes = append(set.Notes, "not waited for any longer: "+err.Error())
	}
	later := &cloudevidence.SnapshotRecord{About: g.about, Gathered: g.stored.Named, Snapshots: set}
	later.Written = time.Now().UTC()
	stored, err := g.keep(func(ctx context.Context, p cloudevidence.Place) (records.Stored, error) {
		return p.StoreSnapshots(ctx, later)
	})
	if err != nil {
		g.set = set // so that it is told at least
		g.trouble(fmt.Errorf("what became of the snapshots could not be stored: %w", err))
		return
	}
	g.later = later
	state := string(acquire.StateComplete)
	if !later.Complete {
		state, g.code = string(acquire.StatePartial), worse(g.code, exitPartial)
	}
	g.logRecord("snapshots", stored, state, later.Reasons)
}

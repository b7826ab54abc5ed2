package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/cmd/internal/awsaccess"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/sink"
)

// gatherParallel is how many instances are asked about at once: EC2 throttles by account.
const gatherParallel = 8

// gatherings are the instances of a run whose evidence is gathered. Nothing of it touches the instances.
type gatherings struct {
	o    *captureOptions
	list []*gathering
	say  func(string)
	log  func(audit.Entry)
	work sync.WaitGroup
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

	// Once all is done:
	record *cloudevidence.Record // nil: it was not stored
	stored cloudevidence.Stored
	later  *cloudevidence.SnapshotRecord // nil: nobody waited for snapshots
	code   int
	errs   []error
}

func newGatherings(o *captureOptions) *gatherings {
	return &gatherings{o: o, say: func(string) {}, log: func(audit.Entry) {}}
}

func (all *gatherings) add(host string, i cloudevidence.Instance, access awsaccess.Access, options gatherOptions) *gathering {
	g := &gathering{
		all: all, host: host, access: access, gatherOptions: options, read: make(chan struct{}),
		about: cloudevidence.About{Case: all.o.Engine.Case, Operator: all.o.Engine.Operator, Tool: all.o.Engine.Tool, Host: host, Instance: i},
		place: cloudevidence.Place{Put: store},
	}
	all.list = append(all.list, g)
	return g
}

// start begins with all instances, and returns at once.
func (all *gatherings) start(ctx context.Context, say func(string), log func(audit.Entry)) {
	if all == nil {
		return
	}
	all.say, all.log = func(line string) { say("shotglass: " + line) }, log
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

// waitRead waits until what a change would change has been read, and snapshots have been begun. Each call to AWS has its own limit.
func (g *gathering) waitRead(ctx context.Context) {
	select {
	case <-g.read:
	case <-ctx.Done():
	}
}

// inOrder is what calls first, then next, which may be nil.
func inOrder(first, next func(context.Context)) func(context.Context) {
	return func(ctx context.Context) {
		first(ctx)
		if next != nil {
			next(ctx)
		}
	}
}

func inOrder2(first func(context.Context), next func(context.Context, *acquire.Result)) func(context.Context, *acquire.Result) {
	return func(ctx context.Context, r *acquire.Result) {
		first(ctx)
		if next != nil {
			next(ctx, r)
		}
	}
}

// run gathers, stores, and waits for snapshots. free is called when AWS is not asked much any more.
func (g *gathering) run(ctx context.Context, free func()) {
	opened := sync.OnceFunc(func() { close(g.read) })
	defer opened()
	fail := func(err error) {
		g.errs, g.code = append(g.errs, err), worse(g.code, exitFailed)
		g.all.log(audit.Entry{Event: "gathered", Host: g.host, State: string(acquire.StateFailed), Error: err.Error(), Message: "nothing was gathered of " + g.host + ": " + err.Error()})
	}
	accounts, err := g.access.Accounts(ctx, g.about.Case)
	if err != nil {
		fail(err)
		return
	}
	if who, err := accounts.Caller(ctx); err == nil {
		g.about.Caller = who.ARN
	}
	t := containment.Target{Kind: containment.Instance, Partition: containment.PartitionOf(g.about.Instance.Region), Account: g.about.Instance.Account, Region: g.about.Instance.Region, Name: g.about.Instance.ID}
	tool := &cloudevidence.Gatherer{Config: accounts.Config, Since: g.since, Pages: g.pages}
	rec := &cloudevidence.Record{About: g.about, Begun: time.Now().UTC()}
	g.all.say(g.host + ": asking AWS for " + g.names())
	var started sync.WaitGroup
	if g.snapshots {
		started.Go(func() { rec.Snapshots = tool.Start(ctx, t, g.snap) })
	}
	got := tool.Read(ctx, t, g.kinds, func() {
		started.Wait()
		opened()
	})
	free()
	if got.State != "" {
		rec.Instance.State, rec.Instance.Windows, rec.Instance.Name = got.State, got.Windows, got.Name
	}
	g.about.Instance = rec.Instance
	rec.Written = time.Now().UTC()
	if err := g.store(rec, got); err != nil {
		fail(fmt.Errorf("%s was gathered, and is lost, as it could not be stored: %w", g.names(), err))
		return
	}
	g.record = rec
	g.told(rec)
	if set := rec.Snapshots; set != nil && set.Error == "" && g.wait > 0 {
		g.await(ctx, tool, t, set)
	}
	if ctx.Err() != nil {
		g.code = worse(g.code, exitInterrupted)
	}
}

// storeTime bounds the storing of what was gathered, which an interrupted run does, too.
const storeTime = 2 * time.Minute

// store writes what was gathered, on this machine if its place does not take it.
func (g *gathering) store(rec *cloudevidence.Record, got *cloudevidence.Collection) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	base := cloudevidence.BaseName(safeName(g.host), rec.Begun)
	if g.stored, err = g.place.Store(ctx, base, rec, got); err == nil {
		return nil
	}
	if _, disk := g.place.Sink.(*sink.Disk); disk {
		return err
	}
	dir, serr := stateDir()
	if serr != nil {
		return errors.Join(err, serr)
	}
	spare, serr := sink.NewDisk(dir)
	if serr != nil {
		return errors.Join(err, serr)
	}
	ctx, cancel = context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	g.place.Sink = spare
	var again error
	if g.stored, again = g.place.Store(ctx, base, rec, got); again != nil {
		return errors.Join(err, again)
	}
	g.errs = append(g.errs, fmt.Errorf("its place did not take it, so that it lies in %s, from where it must be brought there: %w", dir, err))
	g.code = worse(g.code, exitPartial)
	return nil
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
func (g *gathering) logRecord(event string, r cloudevidence.Stored, state string, reasons []string) {
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
	sctx, stop := context.WithTimeout(context.Background(), storeTime)
	defer stop()
	stored, err := g.place.StoreSnapshots(sctx, later)
	if err != nil {
		g.errs, g.code = append(g.errs, err), worse(g.code, exitPartial)
		return
	}
	g.later = later
	state := string(acquire.StateComplete)
	if !later.Complete {
		state, g.code = string(acquire.StatePartial), worse(g.code, exitPartial)
	}
	g.logRecord("snapshots", stored, state, later.Reasons)
}

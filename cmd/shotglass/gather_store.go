package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport"
)

// begin stores what is about to be gathered. If that fails Store tries again, and tells.
func (g *gathering) begin(k *cloudevidence.Keeping) {
	g.keep(func(ctx context.Context, p cloudevidence.Place) (records.Stored, error) { //nolint:errcheck // see above
		return records.Stored{}, k.Begin(ctx, p)
	})
}

// item stores an item as soon as it is there, and logs its digest. If that fails Store tries again, and tells.
func (g *gathering) item(k *cloudevidence.Keeping, it cloudevidence.Item, content []byte) {
	var f *cloudevidence.File
	if _, err := g.keep(func(ctx context.Context, p cloudevidence.Place) (_ records.Stored, err error) {
		f, err = k.Item(ctx, p, it, content)
		return records.Stored{}, err
	}); err != nil {
		return
	}
	state := acquire.StateComplete
	if it.Error != "" {
		state = acquire.StatePartial
	}
	whole := it.Error == ""
	e := audit.Entry{Event: "gather-item", Host: g.host, State: string(state), Error: it.Error, Location: f.Location, Stored: &audit.Digest{Digest: f.Stored, Complete: whole},
		Message: fmt.Sprintf("%s of %s is stored in %s, sha256 %s", it.Name, g.host, f.Location, f.Stored.SHA256)}
	if it.File != "" {
		e.Raw = &audit.Digest{Digest: acquire.Digest{Bytes: it.Bytes, SHA256: it.SHA256}, Complete: whole}
	}
	g.all.log(e)
}

// leftTime bounds the search for what other runs left.
const leftTime = 30 * time.Second

func (all *gatherings) leavings(ctx context.Context, where sink.Sink) *cloudevidence.Leavings {
	all.mu.Lock()
	find := all.left[where]
	if find == nil {
		find = sync.OnceValue(func() *cloudevidence.Leavings {
			limited, cancel := leftContext(ctx)
			defer cancel()
			return cloudevidence.Find(limited, where, all.o.Engine.Signer != nil)
		})
		all.left[where] = find
	}
	all.mu.Unlock()
	return find()
}

func leftContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, leftTime, fmt.Errorf("it took more than %s", leftTime))
}

// left looks for what other runs left of the instance that nobody signed, and tells of it.
func (g *gathering) left(ctx context.Context, base string) []cloudevidence.Leftover {
	found := g.all.leavings(ctx, g.place.Sink)
	limited, cancel := leftContext(ctx)
	defer cancel()
	list := found.Of(limited, safeName(g.host), g.about.Instance, base)
	for _, l := range list {
		text := l.Error
		if l.Name != "" {
			text = g.leftText(l)
		}
		g.all.say(g.host + ": " + printable(text))
		g.all.log(audit.Entry{Event: "gather-left", Host: g.host, Location: l.Name, Error: l.Error, Message: g.host + ": " + text})
	}
	return list
}

// leftText is what is said of one of them.
func (g *gathering) leftText(l cloudevidence.Leftover) string {
	place := g.place.Sink.String()
	what := "ended before the signature of " + l.Name
	if strings.HasSuffix(l.Name, cloudevidence.BegunSuffix) {
		what = fmt.Sprintf("ended before its record, or is still at work; %d of its %d items lie in %s", l.Archives(), len(l.Asked), place)
		if l.Set != "" {
			what += ", and if it made snapshots they have the tag shotglass-set=" + l.Set
		}
	}
	began := ""
	if !l.Begun.IsZero() {
		began = " that began at " + clock(l.Begun)
	}
	text := fmt.Sprintf("a run%s was %s; this run's record names them: shotglass verify %s", began, what, transport.Quote(strings.TrimSuffix(place, "/")+"/"+l.Name))
	if l.Error != "" {
		text += "; " + l.Error
	}
	return text
}

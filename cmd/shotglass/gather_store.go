package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
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

// left looks for what other runs left of the instance without a record, and tells of it.
func (g *gathering) left(ctx context.Context, base string) []cloudevidence.Leftover {
	limited, cancel := context.WithTimeoutCause(ctx, leftTime, fmt.Errorf("it took more than %s", leftTime))
	defer cancel()
	list := cloudevidence.Left(limited, g.place.Sink, safeName(g.host), base)
	for _, l := range list {
		text := l.Error
		if l.Name != "" {
			archives := 0
			for _, f := range l.Files {
				if strings.Contains(f.Name, cloudevidence.ArchiveSuffix) {
					archives++
				}
			}
			text = fmt.Sprintf("a run that began at %s was ended before its record, or is still at work; %d of its %d items lie in %s, and this run's record names them: shotglass verify %s",
				clock(l.Begun), archives, len(l.Asked), g.place.Sink, transport.Quote(strings.TrimSuffix(g.place.Sink.String(), "/")+"/"+l.Name))
			if l.Error != "" {
				text += "; " + l.Error
			}
		}
		g.all.say(g.host + ": " + printable(text))
		g.all.log(audit.Entry{Event: "gather-left", Host: g.host, Location: l.Name, Error: l.Error, Message: g.host + ": " + text})
	}
	return list
}

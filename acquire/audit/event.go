package audit

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
)

// Observe adds what an event of the engine says. It is an acquire.Observer.
func (l *Log) Observe(e acquire.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if _, ok := e.(acquire.Stalled); ok {
		if l.stalled[e.Host()] {
			return // it comes every second
		}
		l.stalled[e.Host()] = true
	} else {
		delete(l.stalled, e.Host())
	}
	for _, entry := range entries(e) {
		entry.Host = e.Host()
		entry.Message = entry.Host + ": " + entry.Message
		l.add(entry)
	}
}

// entries puts an event into words and fields.
func entries(e acquire.Event) []Entry {
	switch e := e.(type) {
	case acquire.Connecting:
		return []Entry{{Event: "connecting", Message: "connecting"}}
	case acquire.Connected:
		return []Entry{{Event: "connected", Message: "connected, round trip " + e.RTT.String(), RTTMicros: e.RTT.Microseconds()}}
	case acquire.Planned:
		return []Entry{planned(e.Step)}
	case acquire.Waiting:
		return []Entry{{Event: "waiting", Message: "waiting: " + e.Why}}
	case acquire.Rereading:
		entry := Entry{Event: "rereading", Message: "reading the image of an earlier run again"}
		if e.Prior != nil {
			entry.Location = e.Prior.Location
			entry.Message += ": " + e.Prior.Location
		}
		return []Entry{entry}
	case acquire.Preparing:
		return []Entry{{Event: "preparing", Message: e.What}}
	case acquire.Streaming:
		what := "streaming"
		if e.What != "" {
			what += " " + e.What
		}
		return []Entry{{Event: "streaming", Message: fmt.Sprintf("%s, %d bytes expected", what, e.Expected), ExpectedBytes: e.Expected}}
	case acquire.Stalled:
		return []Entry{{Event: "stalled", Message: fmt.Sprintf("no byte came for %s", e.For.Round(time.Second)), DurationMicros: e.For.Microseconds()}}
	case acquire.Resumed:
		return []Entry{{Event: "resumed", Message: fmt.Sprintf("bytes flow again after %s", e.After.Round(time.Second)), DurationMicros: e.After.Microseconds()}}
	case acquire.Cleaning:
		return []Entry{{Event: "stream-end", Message: "stream ended, cleaning the target"}}
	case acquire.Problem:
		return []Entry{{Event: "problem", Message: "problem: " + e.Err.Error(), Error: e.Err.Error()}}
	case acquire.Rejected:
		return rejected(e)
	case acquire.Finished:
		return finished(e.Result)
	default: // of a later version of the engine
		kind := strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", e), "acquire."))
		return []Entry{{Event: kind, Message: kind}}
	}
}

func planned(s *acquire.Step) Entry {
	e := Entry{Event: "planned", Message: "planned"}
	if s == nil {
		return e
	}
	e.Message = fmt.Sprintf("%d bytes of memory through %s, into %s", s.Expected, s.Source, s.Name)
	e.Source, e.Image, e.ExpectedBytes = s.Source, s.Name, s.Expected
	e.Address, e.User, e.HostKey, e.HostKeyTrust = s.Info.Addr, s.Info.User, s.Info.HostKey, s.Info.HostKeyTrust
	if s.Module != nil {
		e.ModuleSHA256 = s.Module.SHA256
	}
	e.Reasons = s.Warnings
	if s.Err != nil {
		e.Error, e.Message = s.Err.Error(), "cannot be captured: "+s.Err.Error()
	}
	return e
}

// finished is what became of the target, of the record and of the image.
func finished(r *acquire.Result) (out []Entry) {
	if r == nil {
		return []Entry{{Event: "finished", Message: "finished"}}
	}
	switch {
	case len(r.Left) > 0:
		out = append(out, Entry{Event: "left", Message: "left on the target: " + strings.Join(r.Left, ", "), Left: r.Left, Fix: r.Fix})
	case r.Manifest != "" && r.KeptFrom.IsZero():
		out = append(out, Entry{Event: "cleaned", Message: "nothing was left on the target"})
	}
	if o := r.Other; o != nil && r.State != acquire.StateComplete {
		out = append(out, manifest(o)...) // of the second; r's own is on record since it was rejected
	} else {
		out = append(out, manifest(r)...)
	}
	complete := r.State == acquire.StateComplete
	e := Entry{
		Event: "finished", Message: string(r.State), State: string(r.State), Reasons: r.Reasons,
		Location: r.Image.Location, Image: r.Image.Name, DurationMicros: r.Duration.Microseconds(),
	}
	if r.State != acquire.StateFailed && r.Image.Raw.SHA256 != "" {
		e.Raw, e.Stored = &Digest{r.Image.Raw, complete}, &Digest{r.Image.Stored, complete}
		e.Message += fmt.Sprintf(", %d bytes, sha256 %s, in %s", r.Image.Raw.Bytes, r.Image.Raw.SHA256, r.Image.Location)
	}
	if !r.KeptFrom.IsZero() {
		e.Message = fmt.Sprintf("not captured again: an earlier run made an image at %s; %s", r.KeptFrom.UTC().Format(time.RFC3339), e.Message)
	}
	e.Notes = r.Notes
	if r.Err != nil {
		e.Error = r.Err.Error()
		var partial *acquire.PartialError
		if !complete && !errors.As(r.Err, &partial) {
			e.Message += ": " + e.Error
		}
	}
	if len(r.Reasons) > 0 {
		e.Message += ": " + strings.Join(r.Reasons, "; ")
	}
	return append(out, e)
}

// manifest is the record of a manifest that this run wrote.
func manifest(r *acquire.Result) []Entry {
	if r.ManifestDigest.SHA256 == "" {
		return nil
	}
	rec := Record{
		Host: r.Host, State: string(r.State), Name: path.Base(strings.ReplaceAll(r.Manifest, `\`, "/")), Location: r.Manifest,
		Digest: Digest{r.ManifestDigest, r.State == acquire.StateComplete},
	}
	return []Entry{{Event: "manifest", Message: "manifest written: " + r.Manifest + ", sha256 " + rec.SHA256, Manifest: &rec, Location: r.Manifest}}
}

// rejected is an image that is kept and not to be used.
func rejected(e acquire.Rejected) []Entry {
	r := e.Result
	out := append([]Entry{{Event: "cleaned", Message: "nothing was left on the target"}}, manifest(r)...)
	return append(out, Entry{
		Event: "rejected", State: string(r.State), Reasons: r.Reasons, Location: r.Image.Location, Image: r.Image.Name,
		Raw: &Digest{Digest: r.Image.Raw}, Stored: &Digest{Digest: r.Image.Stored}, DurationMicros: r.Duration.Microseconds(),
		Message: fmt.Sprintf("the content of the image is rejected; it is kept in %s, and a second one is taken as %s: %s", r.Image.Location, e.Second, strings.Join(r.Reasons, "; ")),
	})
}

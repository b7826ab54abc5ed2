package main

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/signature"
)

// openResume decides who may have signed the images that --resume keeps: the key of this run,
// and those of --signers. It is called once the signer is open.
func (o *captureOptions) openResume() error {
	if !o.Resume {
		return nil
	}
	var trusted *signature.AllowedSigners
	if o.Signers != "" {
		var err error
		if trusted, err = readSigners(o.Signers); err != nil {
			return err
		}
	}
	if s := o.Engine.Signer; s != nil {
		trusted = trusted.With(s.PublicKey(), "the signing key of this run")
	}
	if trusted == nil {
		return usagef("--resume keeps images only if somebody trusted has signed them, and nobody was named").
			fix("pass the --sign-key of the run that is resumed, or --signers")
	}
	o.Engine.Resume = &acquire.Resume{Signers: trusted}
	return nil
}

// openKeys opens the signing key, and what --resume trusts.
func (o *captureOptions) openKeys(ctx context.Context) (io.Closer, error) {
	key, err := o.openSigner(ctx)
	if err != nil {
		return nil, err
	}
	if err := o.openResume(); err != nil {
		key.Close()
		return nil, err
	}
	return key, nil
}

// leftoverMessage is a "leftover" line: what an earlier run left unfinished.
type leftoverMessage struct {
	What     string    `json:"what"`
	Location string    `json:"location,omitempty"`
	Bytes    int64     `json:"bytes,omitempty"`
	Time     time.Time `json:"time,omitzero"`
}

// tellResume tells what was found of earlier runs.
func tellResume(c *console, p *acquire.Plan) error {
	for _, l := range p.Leftovers {
		if c.json {
			if err := c.message("leftover", leftoverMessage{l.What, l.Location, l.Size, l.Time.UTC()}); err != nil {
				return err
			}
		}
		c.warn("%s", leftoverLine(l))
	}
	for _, s := range p.Steps {
		for _, n := range s.Notes {
			c.warn("%s: %s", s.Host, n)
		}
	}
	return nil
}

func leftoverLine(l acquire.Leftover) string {
	if l.Name == "" {
		return l.What
	}
	line := l.What + ", of a run that was cut off or of one that goes on elsewhere; it stays as it is: " + l.Location
	if l.Size > 0 {
		line += ", " + size(l.Size)
	}
	if !l.Time.IsZero() {
		line += ", of " + utc(l.Time)
	}
	return line
}

// utc is a time as people compare it with file names.
func utc(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// stateOf is a host's state in words.
func stateOf(r acquire.Result) string {
	if !r.KeptFrom.IsZero() {
		return string(r.State) + " (kept from " + utc(r.KeptFrom) + ")"
	}
	return string(r.State)
}

// priorLine says what becomes of an image of an earlier run.
func priorLine(p *acquire.Prior) string {
	return strings.Join([]string{p.Location, "of " + utc(p.Created), size(p.Bytes) + " stored"}, ", ") +
		": it is read again, and kept if it is whole"
}

package main

import (
	"fmt"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/sink"
)

// An unstored object is one that could not be stored. Nothing that speaks for it may come before it.
type unstored struct {
	name string
	cut  string // the folder with parts of it that cannot be finished; empty: it can be tried again
}

// holds reports whether a list, manifest or signature is to wait for what is missing. One whose folder cannot be finished would hold it for ever. A capture
// writes the description of a folder before what speaks for its object: so a file with swap that has none is one that no paper takes for stored,
// and the archive beside an image is one that an interim manifest, which came before it, does not know of.
func (m unstored) holds(paper string) bool {
	about := paperOf(paper)
	file, _ := sink.SegmentOf(m.name)
	if rank(paper) == rankList { // it speaks for its segments alone
		return file == about
	}
	if !strings.HasPrefix(m.name, about) && acquire.ImageOf(m.name) != about {
		return false
	}
	if m.cut == "" {
		return true
	}
	if swap, _ := acquire.IsSwap(file); swap {
		return false
	}
	archive := strings.HasSuffix(strings.TrimSuffix(file, agefile.Suffix), acquire.LiveSuffix)
	return !archive || !strings.HasSuffix(strings.TrimSuffix(paper, acquire.SignatureSuffix), acquire.InterimSuffix)
}

// err says that paper waits.
func (m unstored) err(paper string) error {
	err := fmt.Errorf("%s waits: it must not come before %s", paper, m.name)
	if m.cut == "" {
		return err
	}
	return &hinted{err, fmt.Sprintf("to have it stored all the same, move %s elsewhere, keep it, and repeat: verify will say what is missing", m.cut)}
}

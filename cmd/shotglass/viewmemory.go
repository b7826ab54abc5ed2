package main

import (
	"os"
	"runtime"
	"runtime/debug"

	"github.com/shotglass-ir/shotglass/sink/s3"
)

// garbage is what may lie about beside what is used, at least. Read from S3 some 400 MB/s become garbage, nearly all of it buffers
// without pointers, which cost the collector nothing to look at: it runs a few times a second.
const garbage = 64 << 20

// memory is what a program that shows the image, which it has just opened, should tell the garbage collector to stay within: what it
// holds by now, what reading takes at most, answers bytes for those who ask, and an eighth for garbage, or 64 MiB. Nothing that
// is used goes beyond it, so that the collector always finds something to collect. It collects.
func (v *viewed) memory(name string, answers int64) int64 {
	debug.FreeOSMemory()
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	n := int64(now.HeapAlloc) + v.Memory() + answers
	if s3.IsURL(name) {
		n += s3.ReaderMemory
	}
	return n + max(n/8, garbage)
}

// limitMemory has the garbage collector stay within n bytes, unless GOMEMLIMIT says otherwise. Without, it lets as much garbage
// lie about as there are bytes in use, and nearly all of these are a cache.
func limitMemory(n int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(n)
	}
}

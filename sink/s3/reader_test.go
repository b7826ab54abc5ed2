package s3

import (
	"bytes"
	"net/http"
	"testing"
)

func TestReadIsCut(t *testing.T) {
	isolate(t)
	f := newFake(t)
	data := pattern(3*blockSize + 77)
	f.store("case-1/image.lime", "x", data)
	f.fault = func(c call, w http.ResponseWriter) bool {
		if c.Op == "GetObject" && c.Nth <= 2 {
			w.Header().Set("Content-Length", "4194304")
			w.WriteHeader(206)
			w.Write(data[:1000])
			panic(http.ErrAbortHandler)
		}
		return false
	}
	r, err := f.sink(t).Open(t.Context(), "image.lime")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make([]byte, len(data))
	if n, err := r.ReadAt(got, 0); n != len(data) || err != nil || !bytes.Equal(got, data) {
		t.Fatalf("ReadAt = %d, %v", n, err)
	}
	calls := len(f.of("GetObject"))
	if _, err := r.ReadAt(got[:10], blockSize+5); err != nil || len(f.of("GetObject")) != calls {
		t.Errorf("a block was fetched twice (%v)", err)
	}
}

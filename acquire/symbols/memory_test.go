package symbols

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// distributionBTF is that of a whole kernel, with which the library that reads it tests itself.
func distributionBTF(t testing.TB) []byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cilium/ebpf").Output()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "btf", "testdata", "vmlinux.btf.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestMemory holds Write to what it says that it takes: a machine that makes a symbol file may be taking
// other hosts' memory.
func TestMemory(t *testing.T) {
	in := inputs(t)
	in.BTF = distributionBTF(t)
	var more []string
	for i := range 120_000 {
		more = append(more, fmt.Sprintf("%016x t another_function_of_this_kernel_%d", 0xffffffff9d000000+uint64(i)*16, i))
	}
	in.Kallsyms = kallsyms(0x1a000000, more...)
	more = nil
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base := m.HeapAlloc
	var peak atomic.Uint64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for peak.Load() != ^uint64(0) {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if old := peak.Load(); m.HeapAlloc > old && old != ^uint64(0) {
				peak.CompareAndSwap(old, m.HeapAlloc)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	var out bytes.Buffer
	rep, err := Write(&out, in)
	took := peak.Swap(^uint64(0))
	<-done
	if err != nil {
		t.Fatal(err)
	}
	if took -= min(base, took); took > Memory {
		t.Errorf("%d MB on the heap at a time, want %d at most", took>>20, Memory>>20)
	}
	if rep.UserTypes < 5000 || rep.Symbols < 120_000 {
		t.Errorf("this is no distribution's kernel: %+v", rep)
	}
	t.Logf("BTF %d bytes, %d symbols: %d MB on the heap, %d bytes of file", len(in.BTF), rep.Symbols, took>>20, rep.Bytes)
	runtime.KeepAlive(in)
}

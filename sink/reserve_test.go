package sink_test

import (
	"os"
	"testing"
)

func TestReserveLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	d := newDisk(t, dir)
	release, err := d.Reserve(t.Context(), "image", 3<<20+1)
	if err != nil {
		t.Fatal(err)
	}
	release()
	release()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Fatalf("folder holds %v, %v", entries, err)
	}
}

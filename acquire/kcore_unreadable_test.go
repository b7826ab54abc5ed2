//go:build unix

package acquire

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// badPages makes a dd that cannot read some pages, as a kernel that answers EFAULT. words are what it
// then does when it reads many at once; page by page it says what words begin with.
func badPages(f *fakeKcore, words string, pages ...uint64) string {
	var list []string
	for _, p := range pages {
		list = append(list, strconv.FormatUint(fakeOffset+p, 10))
	}
	return fmt.Sprintf(`dd() {
	k=0 z=0 c=0 at=0 good=0 e=0
	for a; do case $a in skip=*) k=${a#skip=} ;; bs=*) z=${a#bs=} ;; count=*) c=${a#count=} ;; esac; done
	case "$*" in
	*count=0*) sought=$k ;;
	*conv=noerror,sync*)
		while [ "$at" -lt "$c" ]; do
			z=
			for p in %[2]s; do [ "$p" != $(((sought + at) * 4096)) ] || z=1; done
			if [ -n "$z" ]; then
				%[3]s
				command dd if=/dev/zero bs=4096 count=1 2>/dev/null
				e=$((e + 1))
			else
				command dd if=%[1]s bs=4096 skip=$((sought + at)) count=1 2>/dev/null
				good=$((good + 1))
			fi
			at=$((at + 1))
		done
		echo "$good+$e records in
$c+0 records out" >&2
		return $((e > 0)) ;;
	*iflag=skip_bytes*%[1]s*|*%[1]s*iflag=skip_bytes*)
		for p in %[2]s; do
			if [ "$p" -ge "$k" ] && [ "$p" -lt $((k + z)) ]; then %[4]s; fi
		done ;;
	esac
	command dd "$@"
}`, f.path("kcore"), strings.Join(list, " "), map[bool]string{true: busyboxPage, false: gnuPage}[words == busyboxError], words)
}

// What dd of coreutils and of busybox say of a read error, and of one that they go on after.
const (
	gnuError = `echo "dd: error reading: Bad address
0+0 records in
0+0 records out" >&2; return 1`
	busyboxError = `echo "dd: Bad address" >&2; return 1`

	gnuPage = `echo "dd: error reading 'kcore': Bad address
$good+$e records in
$at+0 records out
$((at * 4096)) bytes copied" >&2`
	busyboxPage = `echo "dd: kcore: Bad address" >&2`
)

func TestKcoreUnreadable(t *testing.T) {
	t.Parallel()
	bad := []uint64{0x1000, 0x345000, 0x346000, 0x17ff000, 1<<32 + 0x47f000}
	for _, words := range []string{gnuError, busyboxError} {
		for _, accept := range []int64{0, 4, 5} {
			t.Run(fmt.Sprint(accept), func(t *testing.T) {
				t.Parallel()
				noLeak(t)
				f := newKcore(t)
				f.dd = badPages(f, words, bad...)
				dir := t.TempDir()
				res := f.capture(t.Context(), dir, func(o *Options) { o.AcceptUnreadable = accept; o.Connections = 2 })
				want := StatePartial
				if accept >= 5 {
					want = StateComplete
				}
				m := manifestIn(t, dir)
				if res.State != want || m.Complete != (want == StateComplete) {
					t.Fatalf("%s, complete %t: %v", res.State, m.Complete, res.Err)
				}
				if want == StatePartial && (len(m.Reasons) != 1 || !strings.HasPrefix(m.Reasons[0], "read: 5 pages could not be read")) {
					t.Errorf("reasons %q", m.Reasons)
				}
				u := m.Unreadable
				if u.Pages != 5 || u.Accepted != accept || len(u.Ranges) != 4 || u.Ranges[1] != (lime.Range{Start: 0x345000, End: 0x346fff}) {
					t.Errorf("unreadable %+v", u)
				}
				image := bytes.Clone(f.image)
				for _, p := range bad {
					at := f.offset(p)
					clear(image[at : at+page])
				}
				f.same(m, image)
			})
		}
	}
}

// TestKcoreTooManyUnreadable: a target that refuses page after page does not fill this machine's
// memory with the list of them.
func TestKcoreTooManyUnreadable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		accept int64
		ends   bool
	}{{0, true}, {500, false}} { // 1 % are less than 100
		t.Run(fmt.Sprint(tt.accept), func(t *testing.T) {
			t.Parallel()
			noLeak(t)
			f := newKcore(t)
			var bad []uint64
			for i := range uint64(300) {
				bad = append(bad, 0x400000+2*i*page)
			}
			f.dd = badPages(f, gnuError, bad...)
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, func(o *Options) {
				o.Connections, o.AcceptUnreadable, o.testOnlyMostUnreadable = 1, tt.accept, 100
			})
			m := manifestIn(t, dir)
			ended := strings.Contains(fmt.Sprint(res.Err), "no more than 100 are put up with")
			if ended != tt.ends || (res.State == StateComplete) == tt.ends || m.Complete == tt.ends || tt.ends && m.Unreadable.Pages > 100 {
				t.Errorf("%s, complete %t: %v", res.State, m.Complete, res.Err)
			}
			if !m.Footprint.Clean {
				t.Errorf("footprint %+v", m.Footprint)
			}
		})
	}
}

// TestKcoreLies: what a hostile target, or a broken dd, sends is counted. Nothing that is too
// long, too short or out of step gets into an image that is called complete.
func TestKcoreLies(t *testing.T) {
	t.Parallel()
	victim := uint64(0x500000)
	for _, tt := range []struct {
		name, words string
		reason      string
	}{
		{"too many bytes", `command dd "$@" 2>/dev/null; printf x; printf '1+0 records in\n1+0 records out\n' >&2; return 0`, "more or less than was asked for"},
		{"too few bytes", `command dd "$@" 2>/dev/null | head -c 1000; printf '1+0 records in\n1+0 records out\n' >&2; return 0`, "could not be read in 6 tries"},
		{"a short read", `printf 'dd: warning\n0+1 records in\n0+1 records out\n' >&2; printf abc; return 0`, "0+1 records in"},
		{"killed", `printf abc; return 137`, "could not be read in 6 tries"},
		{"closed meanwhile", `echo "dd: failed to open: Operation not permitted" >&2; return 1`, "not permitted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			noLeak(t)
			f := newKcore(t)
			f.dd = badPages(f, tt.words, victim)
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, func(o *Options) { o.Connections, o.StallTimeout, o.testOnlyQuiet = 2, 30*time.Second, 2*time.Second })
			if res.State != StatePartial || !strings.Contains(fmt.Sprint(res.Err), tt.reason) {
				t.Fatalf("%s: %v", res.State, res.Err)
			}
			m := manifestIn(t, dir)
			if m.Complete || !m.Footprint.Clean {
				t.Errorf("complete %t, footprint %+v", m.Complete, m.Footprint)
			}
			// What was stored is the start of memory, all the same.
			f.same(m, f.image[:m.Image.Raw.Bytes])
			if m.Image.Raw.Bytes == 0 || m.Image.Raw.Bytes > f.offset(victim) {
				t.Errorf("%d bytes stored, the fault is at %d", m.Image.Raw.Bytes, f.offset(victim))
			}
		})
	}
}

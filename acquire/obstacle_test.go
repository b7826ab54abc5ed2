//go:build unix

package acquire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport"
)

// fullBucket is a sink that takes nothing.
type fullBucket struct{ sink.Sink }

func (fullBucket) Check(context.Context, string) error { return errors.New("the bucket refuses") }

// TestObstacles plans 500 hosts at once, most of which cannot be captured, for every reason that there is. One that hangs
// holds up nobody for longer than a command may take, and each is told apart.
func TestObstacles(t *testing.T) {
	const hosts = 500
	good, mute, plain := newFake(t), newFake(t), newFake(t)
	mute.server.Exec = mute.hangs("id -u)")
	plain.server.Exec = func(cmd string, _ io.Reader, stdout, stderr io.Writer) int {
		if words := strings.Fields(cmd); strings.Contains(cmd, "id -u)") {
			fmt.Fprintf(stdout, "\n@%s 1000 %d.0\n", strings.Trim(words[len(words)-1], "'"), time.Now().Unix())
			return 0
		}
		io.WriteString(stderr, "sudo: a password is required\n") //nolint:errcheck // the test says it if it is missing
		return 1
	}
	none := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(none, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := good.options(t.TempDir())
	const limit = 2 * time.Second
	o.testOnlyCommandLimit, o.CheckSink, o.ConnectAttempts = limit, true, 1
	kinds := []struct {
		want Obstacle
		from *fakeTarget
		edit func(*Job)
	}{
		{ObstacleNone, good, func(*Job) {}},
		{ObstacleUnreachable, good, func(j *Job) { j.Target.Port = 1 }},
		{ObstacleHostKeyUnknown, good, func(j *Job) { j.Target.HostKey = transport.HostKeyPolicy{KnownHosts: []string{none}} }},
		{ObstacleHostKeyOther, good, func(j *Job) { j.Target.HostKey = mute.server.Target().HostKey }},
		{ObstacleLogin, good, func(j *Job) { j.Target.Auth = mute.server.Target().Auth }},
		{ObstacleGrant, good, func(j *Job) {
			j.Target.Auth = transport.Auth{Grant: &transport.Grant{Name: "a service", Key: func(context.Context, string) (ssh.Signer, string, error) {
				return nil, "", errors.New("internal error")
			}}}
		}},
		{ObstacleSilent, mute, func(*Job) {}},
		{ObstacleRoot, plain, func(*Job) {}},
		{ObstacleFacts, good, func(j *Job) {
			j.Check = func(*Facts) (string, error) { return "", errors.New("it is another machine") }
		}},
		{ObstacleSource, good, func(j *Job) { j.Method = MethodKcore }},
		{ObstacleDestination, good, func(j *Job) { j.Sink = fullBucket{o.Sink} }},
	}
	var jobs []Job
	for n := range hosts {
		k := kinds[n%len(kinds)]
		j := k.from.job(fmt.Sprintf("host%03d", n))
		k.edit(&j)
		jobs = append(jobs, j)
	}
	var looked atomic.Int64
	o.Looked = func(_, total int) {
		if looked.Add(1); total != hosts {
			t.Errorf("%d hosts", total)
		}
	}
	began := time.Now()
	p, err := NewPlan(t.Context(), jobs, o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	t.Logf("%d hosts in %s", hosts, time.Since(began))
	for n, s := range p.Steps {
		if want := kinds[n%len(kinds)].want; s.Obstacle != want || (s.Err == nil) != (want == ObstacleNone) {
			t.Errorf("%s: obstacle %q, want %q: %v", s.Host, s.Obstacle, want, s.Err)
		}
	}
	if looked.Load() != hosts {
		t.Errorf("told of %d hosts", looked.Load())
	}
	// 50 that hang, of which as many as places are waited for at once. What else it takes is this machine's.
	if took, most := time.Since(began), time.Minute; took > most {
		t.Errorf("it took %s, more than %s", took, most)
	}
}

// Room is looked at after all hosts.
func TestObstacleRoom(t *testing.T) {
	f := newFake(t)
	o := f.options(t.TempDir())
	o.Sink = smallDisk{o.Sink}
	p, err := NewPlan(t.Context(), []Job{f.job("a")}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if s := p.Steps[0]; s.Obstacle != ObstacleRoom || s.Err == nil {
		t.Errorf("%q: %v", s.Obstacle, s.Err)
	}
}

type smallDisk struct{ sink.Sink }

func (smallDisk) Free(context.Context) (int64, error) { return 1 << 20, nil }
func (smallDisk) Volume() string                      { return "tight" }

//go:build unix

package transport_test

import (
	"testing"

	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

func dial(t *testing.T, d transport.Dialer, target transport.Target) transport.Conn {
	t.Helper()
	c, err := d.Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestConformance(t *testing.T) {
	t.Run("in-process server", func(t *testing.T) {
		s := new(transporttest.Server).Start(t)
		transporttest.Test(t, func(t *testing.T) transport.Conn {
			return dial(t, transporttest.Dialer(t), s.Target())
		})
	})
	t.Run("OpenSSH", func(t *testing.T) {
		d := transporttest.OpenSSHD(t)
		transporttest.Test(t, func(t *testing.T) transport.Conn {
			return dial(t, transporttest.Dialer(t), d.Target())
		})
	})
	t.Run("through a jump host", func(t *testing.T) {
		first, last := new(transporttest.Server).Start(t), new(transporttest.Server).Start(t)
		target := last.Target()
		target.Jumps = []transport.Target{first.Target()}
		transporttest.Test(t, func(t *testing.T) transport.Conn {
			return dial(t, transporttest.Dialer(t), target)
		})
	})
}

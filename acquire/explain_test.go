package acquire

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// TestExplainRefusal: what insmod of kmod, or of busybox, says of a module that the kernel
// refuses becomes advice.
func TestExplainRefusal(t *testing.T) {
	const unfit, unsigned = "exactly this kernel", "signed with a key it trusts"
	for said, hint := range map[string]string{
		"insmod: ERROR: could not insert module /run/lime.ko: Invalid module format":       unfit,
		"insmod: ERROR: could not insert module /run/lime.ko: Invalid parameters":          unfit,
		"insmod: ERROR: could not insert module /run/lime.ko: Unknown symbol in module":    unfit,
		"insmod: can't insert '/run/lime.ko': invalid module format":                       unfit,
		"insmod: can't insert '/run/lime.ko': module has wrong symbol version":             unfit,
		"insmod: can't insert '/run/lime.ko': Invalid argument":                            unfit,
		"insmod: ERROR: could not insert module /run/lime.ko: Key was rejected by service": unsigned,
		"insmod: ERROR: could not insert module /run/lime.ko: Required key not available":  unsigned,
		"insmod: ERROR: could not insert module /run/lime.ko: Operation not permitted":     unsigned,
		"insmod: ERROR: could not insert module /run/lime.ko: Cannot allocate memory":      "",
	} {
		st := &limeStream{agent: new(agent)}
		io.WriteString(&st.agent.stderr, said)
		err := st.explain(&errInsmod{"1"})
		var h interface{ Hint() string }
		got := ""
		if errors.As(err, &h) {
			got = h.Hint()
		}
		if (got == "") != (hint == "") || !strings.Contains(got, hint) {
			t.Errorf("%s: advice %q, want %q", said, got, hint)
		}
		if !errors.Is(err, errPortTaken) && hint != "" && !strings.Contains(err.Error(), said[len(said)-10:]) {
			t.Errorf("%v does not say what insmod said", err)
		}
	}
}

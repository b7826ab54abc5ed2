package headers

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Config is the configuration of a kernel, without CONFIG_: y, m, numbers and strings.
type Config map[string]string

// maxConfig bounds a configuration, in bytes. A distribution's has 300,000.
const maxConfig = 8 << 20

// readConfig reads that of a tree. kbuild itself reads auto.conf.
func readConfig(dir string) (Config, error) {
	for _, name := range []string{"include/config/auto.conf", ".config"} {
		b, err := readLimited(filepath.Join(dir, name), maxConfig)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return parseConfig(b), nil
	}
	return nil, errors.New("neither include/config/auto.conf nor .config is there")
}

func parseConfig(b []byte) Config {
	c := make(Config)
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		name, value, ok := strings.Cut(s.Text(), "=")
		name, config := strings.CutPrefix(name, "CONFIG_")
		if !ok || !config {
			continue
		}
		if u, err := strconv.Unquote(value); err == nil {
			value = u
		}
		c[name] = value
	}
	return c
}

// Has reports whether an option is built in.
func (c Config) Has(name string) bool { return c[name] == "y" }

// Compiler is the one that the kernel was built with, in its own words; empty for kernels
// before 5.8, which do not say.
func (c Config) Compiler() string { return c["CC_VERSION_TEXT"] }

// VermagicProblem says what in the words of a vermagic, behind the release, this kernel would
// refuse; empty: nothing. What depends on the compiler is not compared.
func (c Config) VermagicProblem(vermagic string) string {
	have := strings.Fields(vermagic)
	preempt := c.Has("PREEMPT") || c.Has("PREEMPT_BUILD")
	for _, w := range []struct {
		word string
		want bool
	}{
		{"SMP", c.Has("SMP")},
		{"preempt_rt", c.Has("PREEMPT_RT")},
		{"preempt", preempt && !c.Has("PREEMPT_RT")},
		{"mod_unload", c.Has("MODULE_UNLOAD")},
		{"modversions", c.Has("MODVERSIONS")},
	} {
		switch has := slices.Contains(have, w.word); {
		case w.want && !has:
			return fmt.Sprintf("its vermagic %q lacks %s", vermagic, w.word)
		case !w.want && has:
			return fmt.Sprintf("its vermagic %q has %s, which the kernel has not", vermagic, w.word)
		}
	}
	return ""
}

// readLimited reads a file of at most max bytes.
func readLimited(name string, max int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAtMost(f, max)
}

// readAtMost reads the rest of a file, if it has at most max bytes.
func readAtMost(f *os.File, max int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(b)) > max {
		err = fmt.Errorf("%s has more than %d bytes", f.Name(), max)
	}
	return b, err
}

// Command isfdiff is for `make isf-compare`, and for people.
//
//	isfdiff diff OURS THEIRS        every difference of two symbol files in plain JSON
//	isfdiff measure FILE COMMAND... run a command; what it took, and its peak of memory, into FILE
//	isfdiff table DIR               the table of docs/symbols.md, of what e2e/symbols.sh left in DIR
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/shotglass-ir/shotglass/e2e/isf"
)

func main() {
	err := errors.New("usage: isfdiff diff OURS THEIRS | measure FILE COMMAND... | table DIR")
	switch args := os.Args[1:]; {
	case len(args) == 3 && args[0] == "diff":
		err = diff(args[1], args[2])
	case len(args) > 2 && args[0] == "measure":
		err = measure(args[1], args[2:])
	case len(args) == 2 && args[0] == "table":
		err = table(args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "isfdiff:", err)
		os.Exit(1)
	}
}

func diff(ours, theirs string) error {
	all, err := compare(ours, theirs)
	for _, d := range all {
		fmt.Print(d.Text())
	}
	return err
}

func compare(ours, theirs string) (out []isf.Diff, err error) {
	o, err := isf.Read(ours)
	if err != nil {
		return nil, err
	}
	t, err := isf.Read(theirs)
	if err != nil {
		return nil, err
	}
	for _, s := range isf.Sections {
		out = append(out, isf.Compare(s, o, t))
	}
	return out, nil
}

// A cost is what a command took.
type cost struct {
	Seconds   float64 `json:"seconds"`
	Processor float64 `json:"processor_seconds"`
	Peak      int64   `json:"peak_bytes"`
}

func measure(to string, argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", argv[0], err)
	}
	c := cost{Seconds: time.Since(began).Seconds(), Processor: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}
	c.Peak = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss * 1024
	out, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(to, out, 0o644)
}

// table prints Markdown.
func table(dir string) error {
	names := []string{"dwarf2json", "btf", "dwarf"}
	var costs []cost
	var sizes []string
	for _, n := range names {
		var c cost
		raw, err := os.ReadFile(filepath.Join(dir, n+".cost"))
		if err == nil {
			err = json.Unmarshal(raw, &c)
		}
		if err != nil {
			return err
		}
		costs = append(costs, c)
		plain, err := os.Stat(filepath.Join(dir, n+".json"))
		if err != nil {
			return err
		}
		size := fmt.Sprintf("%.1f", float64(plain.Size())/1e6)
		if packed, err := os.Stat(filepath.Join(dir, n+".json.xz")); err == nil {
			size = fmt.Sprintf("%.1f (JSON %s)", float64(packed.Size())/1e6, size)
		}
		sizes = append(sizes, size)
	}
	row := func(what string, cells ...string) { fmt.Printf("| %s | %s |\n", what, strings.Join(cells, " | ")) }
	each := func(f func(cost) string) (out []string) {
		for _, c := range costs {
			out = append(out, f(c))
		}
		return out
	}
	row("", "dwarf2json", "ours, BTF", "ours, DWARF")
	row("---", "---", "---", "---")
	row("seconds", each(func(c cost) string { return fmt.Sprintf("%.1f", c.Seconds) })...)
	row("of processor time", each(func(c cost) string { return fmt.Sprintf("%.1f", c.Processor) })...)
	row("memory, peak, MB", each(func(c cost) string { return fmt.Sprint(c.Peak / 1e6) })...)
	row("file, MB", sizes...)
	btf, err := compare(filepath.Join(dir, "btf.json"), filepath.Join(dir, "dwarf2json.json"))
	if err != nil {
		return err
	}
	dwarf, err := compare(filepath.Join(dir, "dwarf.json"), filepath.Join(dir, "dwarf2json.json"))
	if err != nil {
		return err
	}
	for i, what := range []string{"base types", "structs and unions", "enums", "symbols"} {
		cell := func(d isf.Diff) string {
			s := fmt.Sprintf("%d; both have %d, %d are equal", d.Ours, d.Both(), d.Equal+d.Untyped)
			if d.Section == "symbols" {
				return fmt.Sprintf("%d; both have %d, %d at the same address", d.Ours, d.Both(), d.Both()-moved(d))
			}
			return s
		}
		row(what, fmt.Sprint(btf[i].Theirs), cell(btf[i]), cell(dwarf[i]))
	}
	s := len(btf) - 1
	row("symbols with a type", fmt.Sprint(btf[s].TheirTyped), fmt.Sprint(btf[s].Typed), fmt.Sprint(dwarf[s].Typed))
	return nil
}

// moved counts symbols that both have at other addresses.
func moved(d isf.Diff) (n int) {
	for _, x := range d.Differ {
		for _, p := range x.Places {
			if strings.HasPrefix(p, ".address ") {
				n++
			}
		}
	}
	return n
}

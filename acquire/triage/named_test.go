//go:build unix

package triage

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// older and newer are how the help of Volatility 2.11.0 and 2.28.0 lists plugins, and last how that does which knows the new names alone.
const (
	older = `
    linux.bash.Bash     Recovers bash command history from memory.
    linux.check_creds.Check_creds
                        Checks if any processes are sharing credential
                        structures
    linux.check_modules.Check_modules
                        Compares module list to sysfs info, if available
    linux.check_syscall.Check_syscall
                        Check system call table for hooks.
    linux.tty_check.tty_check
                        Checks tty devices for hooks
`
	last = `
    linux.bash.Bash     Recovers bash command history from memory.
    linux.malware.check_modules.Check_modules
                        linux.check_idt.Check_idt is no plugin here.
    linux.malware.check_syscall.Check_syscall
                        Check system call table for hooks.
    linux.malware.tty_check.Tty_Check
                        Checks tty devices for hooks
`
	newer = older + last
)

// Plugins run by the name that the installed Volatility has for them.
func TestNamed(t *testing.T) {
	for name, c := range map[string]struct{ help, ask, want string }{
		"the usual ones, before":      {older, "linux.bash.Bash linux.malware.check_syscall.Check_syscall", "linux.bash.Bash linux.check_syscall.Check_syscall"},
		"the usual ones":              {newer, "linux.bash.Bash linux.malware.check_syscall.Check_syscall", "linux.bash.Bash linux.malware.check_syscall.Check_syscall"},
		"as asked for":                {newer, "linux.check_syscall.Check_syscall", "linux.check_syscall.Check_syscall"},
		"the old name is gone":        {last, "linux.check_syscall.Check_syscall linux.tty_check.tty_check", "linux.malware.check_syscall.Check_syscall linux.malware.tty_check.Tty_Check"},
		"the new one is not there":    {older, "linux.malware.tty_check.Tty_Check", "linux.tty_check.tty_check"},
		"both names of one":           {last, "linux.check_syscall.Check_syscall linux.malware.check_syscall.Check_syscall", "linux.malware.check_syscall.Check_syscall"},
		"one that nobody knows":       {newer, "linux.nosuch.Plugin windows.x.Y", "linux.nosuch.Plugin windows.x.Y"},
		"what the help says of a one": {last, "linux.check_idt.Check_idt", "linux.check_idt.Check_idt"},
		"a part of the name":          {newer, "linux.bash linux.check_creds linux.malware.check_syscall", "linux.bash.Bash linux.check_creds.Check_creds linux.malware.check_syscall.Check_syscall"},
		"a part, without linux":       {newer, "bash BASH bash.Bash", "linux.bash.Bash"},
		"a part of an old name":       {last, "linux.check_syscall", "linux.malware.check_syscall.Check_syscall"},
		"a part of a new name":        {older, "linux.malware.check_syscall", "linux.check_syscall.Check_syscall"},
		"a part of several":           {newer, "linux.check_ check_modules", "linux.check_ linux.malware.check_modules.Check_modules"},
		"a help without plugins":      {"", "linux.malware.check_modules.Check_modules", "linux.malware.check_modules.Check_modules"},
	} {
		program, _ := install(t, "#!/bin/sh\ncat <<'END'\nVolatility 3 Framework 2.28.0\nusage: vol\n"+c.help+"END\n")
		v, err := findVolatility(t.Context(), Options{Volatility: program})
		if err != nil {
			t.Fatal(err)
		}
		if got := v.named(strings.Fields(c.ask)); !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// The report, the files and Volatility's arguments have the name that was found.
func TestRunNamed(t *testing.T) {
	program, calls := install(t, strings.Replace(fake, `echo "Volatility 3 Framework 2.11.0"; exit;`, `echo "Volatility 3 Framework 2.11.0"; echo "    linux.check_syscall.Check_syscall"; exit;`, 1))
	folder := filepath.Join(t.TempDir(), "out")
	rep := new(Report)
	if err := Run(t.Context(), Options{Image: "/x", Symbols: "/x", Folder: folder, Volatility: program}, rep); err != nil {
		t.Fatal(err)
	}
	p := rep.Plugins[len(rep.Plugins)-1]
	if p.Name != "linux.check_syscall.Check_syscall" || p.File != p.Name+".json" || !strings.Contains(calls(), " "+p.Name+"\n") || strings.Contains(calls(), "malware.check_syscall") {
		t.Errorf("%+v, %q", p, calls())
	}
}

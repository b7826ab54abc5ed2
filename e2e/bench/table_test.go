//go:build e2e

package bench

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A table collects what benchmarks found, for docs/performance.md.
type table struct {
	title  string
	header []string
	rows   [][]string
}

var tables []*table

func addRow(title string, header, cells []string) {
	i := slices.IndexFunc(tables, func(t *table) bool { return t.title == title })
	if i < 0 {
		i = len(tables)
		tables = append(tables, &table{title: title, header: header})
	}
	tables[i].rows = append(tables[i].rows, cells)
}

func num(format string, v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf(format, v)
}

// spread is a median with the range that it comes from.
func spread(v []float64) string {
	if len(v) == 1 {
		return fmt.Sprintf("**%.2f**", v[0])
	}
	return fmt.Sprintf("**%.2f** (%.2f-%.2f)", median(v), slices.Min(v), slices.Max(v))
}

var update = flag.Bool("update", false, "put the tables into docs/performance.md")

// The page and what the tables stand between there.
const (
	page       = "../../docs/performance.md"
	pageBegins = "<!-- What follows is what make bench UPDATE=1 wrote. -->\n"
	pageEnds   = "<!-- That was it. -->\n"
)

// publish prints the tables, and puts them into the page.
func publish(update bool) error {
	if len(tables) == 0 {
		return nil
	}
	var b strings.Builder
	printTables(&b)
	fmt.Print(b.String())
	if !update {
		return nil
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(text), pageBegins)
	_, tail, ends := strings.Cut(rest, pageEnds)
	if !ok || !ends {
		return fmt.Errorf("%s has no place for the tables", page)
	}
	return os.WriteFile(page, []byte(head+pageBegins+b.String()+pageEnds+tail), 0o644)
}

// printTables writes all tables as Markdown.
func printTables(w io.Writer) {
	fmt.Fprintf(w, "\n%s. %s\n", time.Now().UTC().Format(time.DateOnly), machine())
	for _, t := range tables {
		fmt.Fprintf(w, "\n### %s\n\n| %s |\n|%s\n", t.title, strings.Join(t.header, " | "), strings.Repeat(" --- |", len(t.header)))
		for _, r := range t.rows {
			fmt.Fprintf(w, "| %s |\n", strings.Join(r, " | "))
		}
	}
	fmt.Fprintln(w)
}

// machine tells what this ran on, and with which programs.
func machine() string {
	said := []string{fmt.Sprintf("%d CPUs, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())}
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if k, v, _ := strings.Cut(line, ":"); strings.TrimSpace(k) == "model name" {
			said = append(said, strings.TrimSpace(v))
			break
		}
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	said = append(said, "Linux "+strings.TrimSpace(string(release)))
	for _, argv := range [][]string{{"ssh", "-V"}, {"zstd", "--version"}, {"openssl", "version"}, {paramikoPython(), "-I", "-c", "import paramiko; print('paramiko', paramiko.__version__)"}} {
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if line, _, _ := strings.Cut(string(out), "\n"); err == nil {
			said = append(said, strings.Trim(line, "* "))
		}
	}
	return strings.Join(said, "; ") + fmt.Sprintf("; load %.1f", load())
}

// load is the load average of the last minute: what else ran meanwhile.
func load() float64 {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	v, _ := strconv.ParseFloat(first, 64)
	return v
}

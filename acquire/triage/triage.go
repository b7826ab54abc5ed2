// Package triage takes the first look at a memory image: it runs plugins of Volatility 3, each with a time limit and its
// output in a file of its own, and holds what memory says against what the live tools said on the host when the image was
// taken (package live): processes, modules and sockets that only one of the two knows are named, each with the reason that is known
// for it.
//
// What plugins print comes from the image, and what was collected comes from the host: both are foreign.
package triage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/acquire/live"
)

// The plugins that the comparison rests on.
const (
	PsList   = "linux.pslist.PsList"
	PsScan   = "linux.psscan.PsScan"
	PsAux    = "linux.psaux.PsAux"
	Lsmod    = "linux.lsmod.Lsmod"
	Sockstat = "linux.sockstat.Sockstat"
	Bash     = "linux.bash.Bash"
)

// Plugins are those that run if nobody says otherwise, by their newest names; Run takes the ones that the installed Volatility has.
// linux.pstree is not among them: it fails in Volatility 2.11, and what it shows is made of linux.pslist.
func Plugins() []string {
	return []string{PsList, PsScan, PsAux, Lsmod, Sockstat, Bash,
		"linux.lsof.Lsof", "linux.mountinfo.MountInfo", "linux.malware.check_modules.Check_modules", "linux.malware.check_syscall.Check_syscall"}
}

// Options say what to run. Image, Folder and Symbols are required.
type Options struct {
	Image      string // a file that Volatility opens: LiME as it is
	Symbols    string // a folder with symbol files
	Folder     string // for the plugins' output; it must not be there yet
	Report     string // file for the report, which must not be there yet; empty: ReportName in Folder
	Volatility string // its program; empty: looked for in PATH
	Plugins    []string
	Parallel   int           // plugins at once; default: half of the cores, of 2 GB each
	Timeout    time.Duration // of one plugin; default 30 minutes
	Host       *Host         // what the live tools said; nil: there is nothing to compare with
	Event      func(string)  // told what happens; may be nil; calls come from several goroutines
	// Unread, if set, is asked when all plugins have ended: which parts of the image they could not read.
	Unread func() []string

	found *volatility
}

// Find finds Volatility and asks its version, once; Run does so if nobody did before, when the image is made ready.
func (o *Options) Find(ctx context.Context) (err error) {
	if o.found == nil {
		o.found, err = findVolatility(ctx, *o)
	}
	return err
}

func (o Options) withDefaults() Options {
	if len(o.Plugins) == 0 {
		o.Plugins = Plugins()
	}
	if o.Parallel == 0 {
		o.Parallel = max(1, runtime.NumCPU()/2)
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Minute
	}
	if o.Report == "" {
		o.Report = filepath.Join(o.Folder, ReportName)
	}
	if o.Event == nil {
		o.Event = func(string) {}
	}
	if o.Unread == nil {
		o.Unread = func() []string { return nil }
	}
	return o
}

// A Host is what the capture knows of the host beside its memory.
type Host struct {
	Items   []live.Item
	Content map[string][]byte // of items, by Item.File
	Module  string            // that the capture loaded; empty: none
}

// Type heads a Report, and Version changes only when a field changes its meaning.
const (
	Type    = "shotglass-triage"
	Version = 1
)

// A Report is what came of it. It is written into a file, too.
type Report struct {
	Type    string    `json:"type"`
	Version int       `json:"v"`
	Created time.Time `json:"created"`

	Folder string `json:"folder"`           // of the plugins' output
	Image  string `json:"image"`            // its name
	SHA256 string `json:"sha256,omitempty"` // of the raw image, as its manifest says
	// Read is how Volatility read the image: as it is stored, in place, or unpacked; Unread are parts that could not be.
	Read   string   `json:"read,omitempty"`
	Unread []string `json:"unread,omitempty"`
	// Verified is what verify said of the image before; empty: it was not asked.
	Verified string `json:"verified,omitempty"`

	Volatility string         `json:"volatility"` // its version
	Symbols    string         `json:"symbols,omitempty"`
	Plugins    []PluginResult `json:"plugins"`

	Processes   []Process   `json:"processes"`
	Modules     []Module    `json:"modules"`
	Sockets     []Socket    `json:"sockets"`
	History     []Command   `json:"history"`
	Comparison  *Comparison `json:"comparison,omitempty"`
	NotCompared []string    `json:"not_compared,omitempty"` // and why
	Cut         []string    `json:"cut,omitempty"`          // of which lists only the first are here; they were compared whole

	long map[string]bool // plugins whose tables are too long to compare with
}

// ReportName is the file of a Report in its folder.
const ReportName = "triage.json"

// A PluginResult is what became of one plugin.
type PluginResult struct {
	Name   string        `json:"name"`
	File   string        `json:"file,omitempty"` // its output, in the folder
	Stderr string        `json:"stderr,omitempty"`
	Bytes  int64         `json:"bytes"`
	SHA256 string        `json:"sha256,omitempty"` // of File
	Rows   int           `json:"rows"`
	Took   time.Duration `json:"took_ns"`
	Error  string        `json:"error,omitempty"` // why it is no result, or not all of one
	// Without says which processes the plugin was run without, when it had failed on all of them; empty: on all.
	Without string `json:"without,omitempty"`
	Lacks   int    `json:"lacks,omitempty"` // how many of those were there before, and are neither the capture's own nor threads of the kernel

	crashed bool // it ended by itself, with an error
	lost    bool // it found no kernel
}

// ErrNone says that Volatility is not there.
var ErrNone = errors.New("volatility 3 is not installed here, or not in PATH")

// Run runs the plugins and compares. An error means that there is nothing to show; a plugin that fails is in the
// report. When ctx ends, plugins are killed and what there is is written.
func Run(ctx context.Context, o Options, rep *Report) error {
	o = o.withDefaults()
	if err := o.Find(ctx); err != nil {
		return err
	}
	v := o.found
	v.o = o
	if err := os.Mkdir(o.Folder, 0o700); err != nil {
		return err
	}
	cache, err := os.MkdirTemp(o.Folder, "cache-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(cache)
	o.Event("Volatility " + v.version)
	o.Plugins = v.named(o.Plugins)
	v.cache, v.config = cache, filepath.Join(cache, "config.json")
	rep.Type, rep.Version, rep.Volatility, rep.Folder = Type, Version, v.version, filepath.Base(o.Folder)
	rep.Plugins = make([]PluginResult, len(o.Plugins))

	// The first finds the kernel, and tells the others: that takes longer than most of them.
	first := 0
	for i, p := range o.Plugins {
		if p == PsList {
			first = i
		}
	}
	rep.Plugins[first] = v.run(ctx, o.Plugins[first], true)
	o.Event(tell(rep.Plugins[first]))
	_, err = os.Stat(v.config)
	v.known = err == nil
	var g errgroup.Group
	g.SetLimit(o.Parallel)
	for i, p := range o.Plugins {
		if i == first {
			continue
		}
		if rep.Plugins[first].lost { // it would look through the whole image for it, as each would
			rep.Plugins[i] = PluginResult{Name: p, Error: fmt.Sprintf("not run: %s found no kernel in the image", o.Plugins[first])}
			continue
		}
		g.Go(func() error {
			rep.Plugins[i] = v.run(ctx, p, false)
			o.Event(tell(rep.Plugins[i]))
			return nil
		})
	}
	g.Wait()
	rep.again(ctx, v)
	rep.Unread = o.Unread()
	rep.read(o)
	return rep.write(o.Report)
}

func tell(r PluginResult) string {
	if r.Error != "" {
		return fmt.Sprintf("%s: %s", r.Name, r.Error)
	}
	return fmt.Sprintf("%s: %d rows in %s", r.Name, r.Rows, r.Took.Round(time.Millisecond))
}

// write writes the report, which nothing may be in the way of, with its lists cut.
func (r *Report) write(name string) error {
	data, err := r.encode(MaxReport)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// Failed are the plugins that gave no result, or not all of one.
func (r *Report) Failed() (names []string) {
	for _, p := range r.Plugins {
		if p.Error != "" || p.Lacks > 0 {
			names = append(names, p.Name)
		}
	}
	return names
}

// MaxReport bounds the size of a report that ParseReport reads.
const MaxReport = 256 << 20

// ParseReport decodes a report.
func ParseReport(data []byte) (*Report, error) {
	if len(data) > MaxReport {
		return nil, fmt.Errorf("triage: %d bytes, more than %d", len(data), MaxReport)
	}
	r := new(Report)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("triage: %w", err)
	}
	if r.Type != Type || r.Version != Version {
		return nil, fmt.Errorf("triage: type %.40q, version %d: want %q, %d", r.Type, r.Version, Type, Version)
	}
	for _, n := range []int{len(r.Plugins), len(r.NotCompared), len(r.Cut), len(r.Unread)} {
		if n > 1000 {
			return nil, fmt.Errorf("triage: %d plugins or remarks, more than 1000", n)
		}
	}
	lists := []int{len(r.Processes), len(r.Modules), len(r.Sockets), len(r.History)}
	if r.Comparison != nil {
		lists = append(lists, len(r.Comparison.Differences))
	}
	if n := slices.Max(lists); n > maxParsed {
		return nil, fmt.Errorf("triage: a list of %d, more than %d", n, maxParsed)
	}
	return r, nil
}

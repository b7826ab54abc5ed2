// Package acquire captures the memory of targets as evidence.
//
// [NewPlan] connects to every target, reads facts about it and decides how its
// memory will be read; nothing is written, there or here. [Plan.Run] then
// streams each target's memory through the pipeline into a sink, checks that the
// image is complete, cleans the target, and writes a signed [Manifest], last. One
// host's failure is that host's [Result], never another's.
//
// This package knows no AWS, no terminal and no command line.
package acquire

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/time/rate"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/freeze"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport"
)

// Options say how to capture: what holds for all jobs, and what a [Job] that leaves
// something out gets. Dialer is required; a Sink for each job is required for Run.
type Options struct {
	Dialer  transport.Dialer
	Sink    sink.Sink
	Modules kernelmodules.Store // nil: no module is offered

	// SudoPassword is asked once per target on which sudo wants a password. Nil:
	// such a target is refused.
	SudoPassword transport.SecretFunc

	// AllowUnverifiedModule lets a module be loaded whose digest nobody pinned.
	// The manifest records it.
	AllowUnverifiedModule bool
	// ModulePins are SHA-256 digests in hexadecimal, with or without "sha256:", of modules that may be
	// loaded if they are found installed on a target: of the file as it is stored there, or of the module in it. Those that
	// Modules has were judged by that.
	ModulePins []string
	// AllowInstalledModule lets a module that is installed on the target be loaded although its digest is not
	// pinned: the target may have forged it. The manifest records it.
	AllowInstalledModule bool

	Compression string      // one of frame.Compressions; default "zstd"
	Level       string      // of zstd, one of frame.Levels; default "fastest"
	Threads     int         // cores that compress, all hosts together; default GOMAXPROCS
	Pool        *frame.Pool // nil: one is made for each Run, with Level and Threads

	// Recipients can decrypt the images; nobody else can, this program included. None:
	// images are not encrypted. They must have passed agefile.Join.
	Recipients []agefile.Recipient

	Case     string
	Operator string
	Tool     Tool
	Settings []Setting

	// Signer signs the manifests; nil leaves them unsigned, which is a
	// Problem and is told to the user.
	Signer ssh.Signer

	// StallTimeout ends a stream in which no byte came for so long. The default of
	// 5 minutes lets a link that was away for one to two minutes come back:
	// TCP retransmits with exponential backoff (RFC 6298 section 5.5), so the
	// first byte after an outage can be as late again as the outage was long.
	StallTimeout time.Duration
	// LeastRate ends a stream that brings fewer bytes per second over twice the stall timeout,
	// time in which it waits for a limit or for the sink not counted: a target that sends a byte
	// now and then never stalls. The default of 10 kB/s would take a day for a GiB: no link
	// that evidence is taken over is so slow, and no such image shows a moment. -1 is none.
	LeastRate int64
	// ConnectAttempts is how often a connection is tried when it fails in a way that may pass
	// (default 3).
	ConnectAttempts int
	// CleanupTimeout bounds the cleaning of one target (default 90 s).
	CleanupTimeout time.Duration
	// Parallel is how many targets are captured at once (default: all).
	Parallel int
	// LimitRate bounds the stream of a target, and LimitTotalRate those of all together, in bytes
	// per second (default: no limit). The bytes are those of memory, before compression, as
	// they come over the link. A limited capture takes longer, so that its image is of less of
	// one moment.
	LimitRate, LimitTotalRate int64
	// OpenFiles is how many files and sockets this process may have open (default: no limit).
	// It bounds how many connections wait for their captures, and how many captures are under way.
	OpenFiles int
	// MemoryBudget is how many bytes the captures under way may take together
	// (default: no limit): each is admitted with the weight that
	// pipeline.MemoryPerHost and its sink (sink.Weigher) state, after the pool that all share. What
	// one capture needs is always granted to one, however small the budget.
	MemoryBudget int64

	Observer Observer // nil: nobody watches
	// Previous returns the last entry of the audit log, which the manifest then names:
	// what the log says up to there is as good as the manifest's signature. It is called from
	// the goroutines of all hosts and must not block. Nil: there is no log.
	Previous func() *Reference
	Log      *slog.Logger // nil: discard

	// Resume keeps images of earlier runs; nil takes all hosts anew.
	Resume *Resume

	// Looked, if set, is told how many hosts the plan has looked at, of how many. It is called from many
	// goroutines, and must not block.
	Looked func(done, total int)
	// CheckSink lets the plan prove that it could write: it creates and removes a
	// probe in the sink.
	CheckSink bool
	// AllowLowSpace starts captures that may not fit the sink.
	AllowLowSpace bool
	// Method is how memory is read, one of Methods (default MethodAuto).
	Method string
	// Connections is how many connections to one target read /proc/kcore. 0 lets the
	// round trip decide, and how the rate grows.
	Connections int
	// CompressOnTarget lets the target compress what it sends, with what it has: one of Zips
	// (default ZipOff). It takes the target's CPU and starts processes there, but writes no
	// file. Where it has nothing that works, bytes come as they are.
	CompressOnTarget string
	// AcceptUnreadable is how many pages that /proc/kcore does not give an image may
	// hold as zeros and still be complete, on record.
	AcceptUnreadable int64

	// Avml is AVML's program, for MethodAvml; MethodAuto takes it last of all. Nil: none was
	// given. It must be pinned, or AllowUnverifiedModule holds for it, too.
	Avml *Avml
	// AvmlFolder is the folder on the target in which it is put; empty: one in memory.
	AvmlFolder string

	// Swap reads the target's swap areas, too, once its memory has been stored.
	Swap bool

	// Collect is what is taken from the target beside its memory, see package live. Nil: nothing.
	Collect []live.Kind

	// Sealed, if set, is given what was collected beside an image that is encrypted to recipients, once that is stored: nobody here can read it
	// again. It is called from the goroutines of all hosts, and must not wait; what it keeps takes memory, live.MaxKept at most.
	Sealed func(host, image string, c *live.Collection, to []agefile.Recipient)

	// Freeze stops the target's user processes while its memory is read, but for those that
	// the capture, its logins or its survival depend on, and FreezeExempt. See package freeze.
	Freeze       bool
	FreezeExempt []freeze.Exemption
	// FreezeLease is after how long without a sign of life from here the target thaws by itself, and
	// for how long the sink may take nothing until it is thawed from here (default 30 s).
	FreezeLease time.Duration

	// LimePort is the port that LiME listens on, on the target's loopback. 0
	// picks a free one.
	LimePort int

	// Now is the examiner's clock; nil is time.Now.
	Now func() time.Time

	// LimeTimeout is LiME's timeout parameter in milliseconds. It exists so that
	// tests can provoke LiME's silent zero fill (its own default is 1000);
	// the default of 0 turns the hazard off, and is what evidence needs.
	LimeTimeout int

	totalRate              *rate.Limiter // of all targets of a plan
	testOnlyFrameSize      int
	testOnlyQuiet          time.Duration // see stripe.Options
	testOnlyCommandLimit   time.Duration // in place of commandLimit
	testOnlyMostUnreadable int64         // in place of leastOfMost
	testOnlyPatience       time.Duration // in place of FreezeLease, for the sink
	testOnlyInterimDelay   time.Duration // in place of interimDelay
}

func (o Options) withDefaults() Options {
	if o.Compression == "" {
		o.Compression = "zstd"
	}
	if o.Method == "" {
		o.Method = MethodAuto
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = 5 * time.Minute
	}
	if o.LeastRate == 0 {
		o.LeastRate = 10e3
	}
	if o.ConnectAttempts == 0 {
		o.ConnectAttempts = 3
	}
	if o.FreezeLease == 0 {
		o.FreezeLease = 30 * time.Second
	}
	if o.CleanupTimeout == 0 {
		o.CleanupTimeout = 90 * time.Second
	}
	if o.Observer == nil {
		o.Observer = func(Event) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// A Job is one target, and what is particular to it. What it leaves out is as the
// Options say.
type Job struct {
	Target transport.Target
	// Host names the target in messages, results and file names (default
	// Target.Name, which is what ssh_config is asked for).
	Host string
	// Name is the name of the image. The default is
	// <host>-<UTC time>-mem.lime[.zst|.s2][.age].
	Name string

	Sink         sink.Sink
	LimitRate    int64
	Modules      kernelmodules.Store
	ModulePins   []string
	SudoPassword transport.SecretFunc
	Method       string      // see Options.Method
	Connections  int         // see Options.Connections; AutoConnections in place of its 0
	Swap         *bool       // see Options.Swap
	Collect      []live.Kind // in place of Options.Collect; empty and not nil: nothing
	Freeze       *bool       // see Options.Freeze
	FreezeExempt []freeze.Exemption

	CompressOnTarget string // see Options.CompressOnTarget

	// Recipients are for this target, in place of Options.Recipients.
	Recipients []agefile.Recipient

	Labels   map[string]string // for the manifest
	Settings []Setting         // for the manifest, in place of Options.Settings

	// Check, if set, judges what the target says of itself at the plan, before anything is written there. Its warning, if it has one,
	// is one of the step's; its error stops the target. Those of several targets are called at once.
	Check func(f *Facts) (warning string, err error)
	// CheckPlan, if set, judges the step in the same way once its source is chosen, with what it would take.
	CheckPlan func(s *Step) (warning string, err error)
	// CheckShare, if set, judges the step again once all are planned, where Options.LimitTotalRate divides time among them: Step.Shared is
	// set. most says how many of all targets could be captured at once so that it is no more than limit; 0: none. Its error stops the target.
	CheckShare func(s *Step, most func(limit time.Duration) int) error
	// Before, if set, is called once it is this target's turn, before the first byte is asked for and before
	// anything is changed there. It is not called for a target that is not captured. It cannot
	// stop the capture: memory does not wait for anything else.
	Before func(ctx context.Context)
	// After, if set, is called when the target's result stands: manifest sealed, target cleaned, its connection
	// closed, its place given to the next. Run waits for it. ctx is Run's: it has ended when the run was interrupted.
	After func(ctx context.Context, r *Result)
}

// AutoConnections lets the round trip decide for one target.
const AutoConnections = -1

// Jobs makes a plain job of each target.
func Jobs(targets ...transport.Target) []Job {
	jobs := make([]Job, len(targets))
	for i, t := range targets {
		jobs[i].Target = t
	}
	return jobs
}

// options are those of one job.
func (j Job) options(o Options) *Options {
	if j.Sink != nil {
		o.Sink = j.Sink
	}
	if j.LimitRate != 0 {
		o.LimitRate = j.LimitRate
	}
	if j.Modules != nil {
		o.Modules = j.Modules
	}
	if j.ModulePins != nil {
		o.ModulePins = j.ModulePins
	}
	if j.SudoPassword != nil {
		o.SudoPassword = j.SudoPassword
	}
	if j.Recipients != nil {
		o.Recipients = j.Recipients
	}
	if j.Method != "" {
		o.Method = j.Method
	}
	if j.CompressOnTarget != "" {
		o.CompressOnTarget = j.CompressOnTarget
	}
	switch {
	case j.Connections > 0:
		o.Connections = j.Connections
	case j.Connections == AutoConnections:
		o.Connections = 0
	}
	if j.Swap != nil {
		o.Swap = *j.Swap
	}
	if j.Collect != nil {
		o.Collect = j.Collect
	}
	if j.Freeze != nil {
		o.Freeze = *j.Freeze
	}
	if j.FreezeExempt != nil {
		o.FreezeExempt = j.FreezeExempt
	}
	if j.Settings != nil {
		o.Settings = j.Settings
	}
	return &o
}

// A Plan is what Run would do. Close it: it holds a connection per target.
type Plan struct {
	Steps []*Step // in the order of the jobs
	// Leftovers are what earlier runs left unfinished in the places of the plan, if it resumes.
	Leftovers []Leftover
	// Warnings are about the plan as a whole.
	Warnings []string

	opts     Options
	shelves  map[string]*shelf // by place, if it resumes
	listings []listed
	files    fileBudget
	space    []Space
	room     ledger
}

// A Step is the plan for one target.
type Step struct {
	Target transport.Target `json:"-"`

	Host       string                `json:"host"` // Job.Host
	Labels     map[string]string     `json:"labels,omitempty"`
	Info       transport.Info        `json:"connection"`
	Facts      *Facts                `json:"facts,omitempty"`
	Privilege  string                `json:"privilege,omitempty"`
	Source     string                `json:"source,omitempty"`
	Candidates []Candidate           `json:"candidates,omitempty"`
	Module     *kernelmodules.Module `json:"module,omitempty"`
	// Connections is how many read at once, at most; 0 when there is only one.
	Connections int `json:"connections,omitempty"`
	// Zip is the compressor on the target that bytes come through; empty when they come as they are.
	Zip string `json:"compress_on_target,omitempty"`
	// Freeze is what would be frozen, if that is asked for, and what not. It is looked at again just
	// before.
	Freeze *freeze.Selection `json:"freeze,omitempty"`
	Name   string            `json:"name,omitempty"` // of the image
	// Second is the name of the image that is taken through /proc/kcore should LiME's be
	// rejected; empty when there would be none.
	Second     string   `json:"second_name,omitempty"`
	Expected   int64    `json:"expected,omitempty"`   // raw bytes, exact
	Recipients []string `json:"recipients,omitempty"` // who can decrypt the image; none: it is not encrypted
	// Swap are the swap areas that are read after memory, with the names of their files.
	Swap []PlannedSwap `json:"swap,omitempty"`
	// Collect is what is collected beside it, and what that costs.
	Collect []PlannedItem `json:"collect,omitempty"`
	// Estimate is the least time of the stream, from the round trip and the target's rate
	// limit; 0 when neither limits it.
	Estimate time.Duration `json:"estimate_ns,omitempty"`
	// Shared is the time of the stream, as far as Options.LimitTotalRate decides, which the hosts that are captured at once share in turns;
	// 0 without one. It is set once all steps are planned.
	Shared   time.Duration `json:"shared_ns,omitempty"`
	Warnings []string      `json:"warnings,omitempty"`
	// Prior is the image of an earlier run that is kept in place of a new one if, read
	// again, it is whole.
	Prior *Prior `json:"prior,omitempty"`
	// Notes say of images of earlier runs why they are not kept, or what to know of them.
	Notes []string `json:"notes,omitempty"`
	// Err says why this target cannot be captured: nothing was written. Obstacle is of which kind that is.
	Err      error    `json:"-"`
	Obstacle Obstacle `json:"obstacle,omitempty"`

	opts    *Options // of its job
	check   func(*Facts) (string, error)
	last    func(*Step) (string, error)                // Job.CheckPlan
	share   func(*Step, func(time.Duration) int) error // Job.CheckShare
	before  func(context.Context)
	after   func(context.Context, *Result)
	host    *remote
	src     Source
	others  []Source // that could be used in its place
	planned time.Time
	parked  bool     // its connection was closed to wait
	priors  []*Prior // newest first
	room    *ledger  // of the plan
	volume  string   // where the plan keeps room for the step; empty when it keeps none

	swapSource *kcoreSource // how swap is read; nil: it is not
}

// A State is how a host ended.
type State string

// The states.
const (
	StateComplete State = "complete" // proven complete
	StatePartial  State = "partial"  // kept, marked partial, with its manifest
	StateFailed   State = "failed"   // no image
)

// A Result is how one target ended.
type Result struct {
	Host      string        `json:"host"`
	State     State         `json:"state"`
	Image     Image         `json:"image"`
	Swap      []SwapImage   `json:"swap,omitempty"`      // what was asked for; it may lack what State does not
	Manifest  string        `json:"manifest,omitempty"`  // location
	Signature string        `json:"signature,omitempty"` // location
	Reasons   []string      `json:"reasons,omitempty"`
	Left      []string      `json:"left,omitempty"` // on the target
	Fix       string        `json:"fix,omitempty"`
	Duration  time.Duration `json:"duration_ns"` // of the stream
	// ManifestDigest is of the bytes of a manifest that this run wrote.
	ManifestDigest Digest `json:"manifest_digest,omitzero"`
	// KeptFrom is when the image was made, if an earlier run made it and it was kept.
	KeptFrom time.Time `json:"kept_from,omitzero"`
	Notes    []string  `json:"notes,omitempty"` // on images of earlier runs
	// Other is the host's other image: one whose content was rejected, or an attempt to
	// take one in its place.
	Other *Result `json:"other_image,omitempty"`
	// Unfrozen says why not all user processes that should have been were frozen, in whole and to the
	// end of the stream. The image is what it is.
	Unfrozen string `json:"unfrozen,omitempty"`
	// Interrupted says that the user's cancellation ended it.
	Interrupted bool `json:"interrupted,omitempty"`
	// Err is set unless State is complete, and when swap was asked for and is not complete: then it
	// wraps a *SwapError.
	Err error `json:"-"`
}

// A Source reads a target's memory as one LiME stream.
type Source interface {
	// Name is what the manifest calls it.
	Name() string
	// Probe says whether the source can be used. It only reads. Every refusal of
	// every candidate is reported together.
	Probe(ctx context.Context, h *remote) error
	// Open touches the target and returns once bytes can flow. On error the
	// target has been cleaned as far as could be; the Cleanup says how far, and
	// the Stream, if there is one, can only Record what was done.
	Open(ctx context.Context, h *remote) (Stream, *Cleanup, error)
}

// A Stream is memory on its way.
type Stream interface {
	// Read returns io.EOF when the source ended the stream; whether it was whole
	// is for the walker to say. Interrupt unblocks it.
	Read(p []byte) (int, error)
	// Interrupt ends a blocked Read. It may be called at any time, from any
	// goroutine, more than once.
	Interrupt()
	// Cleanup removes all that the source put on the target, and checks. It
	// is called once, also after errors; ctx bounds it.
	Cleanup(ctx context.Context) *Cleanup
	// Record writes what the source knows into the manifest.
	Record(m *Manifest)
}

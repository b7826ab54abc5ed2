package acquire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport"
)

// Resume says which images of earlier runs are kept in place of being taken again: complete
// ones, of the same case and host name and, as far as the host can be asked, of the same
// machine; signed by one of Signers; of which every byte was read again.
type Resume struct {
	Signers *signature.AllowedSigners
}

// A Prior is an image of an earlier run that may be kept. Its signature holds, and an object of
// its size is there; Run reads it again before it is kept.
type Prior struct {
	Image    string    `json:"image"` // its name in the sink
	Location string    `json:"location"`
	Created  time.Time `json:"created"`
	Bytes    int64     `json:"bytes"` // stored

	host               string
	machine, boot      string // ids, as the target said
	keyType, key, addr string // as the connection found
}

// manifestReaders is how many manifests are read at once: mostly they wait for S3.
const manifestReaders = 16

// A shelf is one place with what earlier runs left there.
type shelf struct {
	taken map[string]bool // names, folded
	steps map[string]*Step
}

// look finds the images that may be kept, the names that are taken and what is left over.
func (p *Plan) look(ctx context.Context) error {
	if p.opts.Resume == nil {
		return nil
	}
	p.shelves = map[string]*shelf{}
	for _, s := range p.Steps {
		place := fmt.Sprint(s.opts.Sink)
		b := p.shelves[place]
		if b == nil {
			b = &shelf{taken: map[string]bool{}, steps: map[string]*Step{}}
			p.shelves[place] = b
			b.steps[s.Host] = s
			if err := p.stock(ctx, b, s.opts.Sink); err != nil {
				return fmt.Errorf("resume: look into %s: %w", place, err)
			}
		}
		b.steps[s.Host] = s
	}
	return p.priors(ctx)
}

// stock lists a place.
func (p *Plan) stock(ctx context.Context, b *shelf, place sink.Sink) error {
	lister, ok := place.(sink.Lister)
	if _, opens := place.(sink.Opener); !ok || !opens {
		return errors.New("what is stored there cannot be read back")
	}
	l, err := lister.List(ctx)
	if err != nil {
		return err
	}
	for _, o := range slices.Concat(l.Objects, l.Unfinished) {
		b.taken[strings.ToLower(o.Name)] = true
	}
	p.listings = append(p.listings, listed{place, b, l})
	p.Leftovers = append(p.Leftovers, leftovers(l)...)
	w, ok := place.(sink.Waiter)
	if !ok {
		return nil
	}
	waiting, err := w.Waiting()
	for _, o := range waiting {
		p.Leftovers = append(p.Leftovers, Leftover{o, "a file in pieces, which shotglass upload brings to its place before its host is taken again"})
	}
	return err
}

// listed is a place with its listing.
type listed struct {
	place sink.Sink
	shelf *shelf
	sink.Listing
}

// leftovers are what a run left that ended without a word, or what another is writing now.
func leftovers(l sink.Listing) (out []Leftover) {
	recorded := map[string]bool{}
	for _, o := range l.Objects {
		if strings.HasSuffix(o.Name, InterimSuffix) { // it does not know of the swap areas' files
			recorded[imageOf(o.Name)] = true
		}
		if strings.HasSuffix(o.Name, ManifestSuffix) {
			recorded[imageOf(o.Name)] = true
			recorded[swapStem(imageOf(o.Name))+"-swap"] = true // by the same manifest
		}
	}
	for _, o := range l.Objects {
		image := fileOf(o.Name)
		is, _ := IsSwap(image)
		if m := swapFile.FindStringSubmatch(image); is {
			image = m[1] + "-swap"
		}
		ours := is || strings.Contains(o.Name, "-mem.lime") || strings.HasSuffix(o.Name, sink.PartialSuffix) || strings.HasSuffix(o.Name, FramesSuffix)
		if ours && !recorded[image] {
			out = append(out, Leftover{o, "a file without a manifest"})
		}
	}
	for _, o := range l.Unfinished {
		out = append(out, Leftover{o, "an upload that was not completed, whose parts are stored"})
	}
	if l.Unknown != nil {
		out = append(out, Leftover{sink.Listed{}, fmt.Sprintf("whether uploads were left unfinished is not known: %v", l.Unknown)})
	}
	return out
}

// A Leftover is no evidence, as it has no manifest, but may hold some. Nothing touches it.
type Leftover struct {
	sink.Listed
	What string
}

// priors reads the manifests and gives each step the images that it may keep, newest first.
func (p *Plan) priors(ctx context.Context) error {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(manifestReaders)
	for _, l := range p.listings {
		sizes := map[string]int64{}
		for _, o := range l.Objects {
			sizes[o.Name] = o.Size
		}
		for _, o := range l.Objects {
			if !strings.HasSuffix(o.Name, ManifestSuffix) {
				continue
			}
			g.Go(func() error {
				prior, why, err := p.prior(ctx, l.place, imageOf(o.Name), sizes)
				if err != nil || prior == nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				s := l.shelf.steps[prior.host]
				switch {
				case s == nil:
				case why != "":
					s.note("%s is not kept: %s", prior.Location, why)
				default:
					s.priors = append(s.priors, prior)
				}
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	for _, s := range p.Steps {
		slices.SortFunc(s.priors, func(a, b *Prior) int {
			return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.Image, b.Image))
		})
		slices.Sort(s.Notes)
		if len(s.priors) > 0 {
			s.Prior = s.priors[0]
		}
	}
	return nil
}

// prior reads the manifest of one image: nil if it is none of this case, and why the image
// is not one to keep.
func (p *Plan) prior(ctx context.Context, place sink.Sink, name string, sizes map[string]int64) (prior *Prior, why string, err error) {
	v := &verification{
		where: place.(sink.Opener), name: name, rep: &VerifyReport{},
		opts: VerifyOptions{Signers: p.opts.Resume.Signers, At: p.opts.Now()},
	}
	data, err := v.manifest(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, "", context.Cause(ctx)
		}
		if errors.Is(err, sink.ErrTooLarge) {
			return nil, "", nil
		}
		return nil, "", fmt.Errorf("read %s: %w", v.location(v.paper), err)
	}
	m, err := ParseManifest(data)
	if err != nil || m.Case != p.opts.Case || m.Target.Host == "" {
		return nil, "", nil // another program's file, or another case's
	}
	if err := v.signature(ctx, data); err != nil {
		return nil, "", err
	}
	prior = &Prior{
		Image: name, Location: v.location(name), Created: m.Created, Bytes: m.Image.Stored.Bytes, host: m.Target.Host,
		keyType: m.Target.Connection.HostKeyType, key: m.Target.Connection.HostKey, addr: m.Target.Connection.Addr,
	}
	if f := m.Target.Facts; f != nil {
		prior.machine, prior.boot = f.MachineID, f.BootID
	}
	size, there := sizes[name]
	switch {
	case !v.rep.Signature.Trusted:
		why = "nobody who is trusted has signed its manifest: " + cmp.Or(v.rep.Signature.Detail, "no reason is known")
	case !m.Complete && m.Other != nil && m.Other.Order == orderAfter:
		why = "its content was rejected, and " + m.Other.Name + " was to be taken in its place"
	case !m.Complete:
		why = "it is partial"
	case !there:
		why = "the manifest is there, the image is not"
	case size != m.Image.Stored.Bytes:
		why = fmt.Sprintf("it has %d bytes, its manifest says %d", size, m.Image.Stored.Bytes)
	}
	return prior, why, nil
}

// inUse reports whether a file of the set of the image called name lies in the place of s.
func (p *Plan) inUse(s *Step, name string) bool {
	b := p.shelves[fmt.Sprint(s.opts.Sink)]
	if b == nil {
		return false
	}
	for _, suffix := range append([]string{"", sink.PartialSuffix}, besides(s.opts.Sink)...) {
		if b.taken[strings.ToLower(name+suffix)] {
			return true
		}
	}
	return false
}

// compare drops the images of other machines than the one that answers now.
func (s *Step) compare() {
	var kept []*Prior
	for _, q := range s.priors {
		if why := q.differs(s.Info, s.Facts); why != "" {
			s.note("%s is not kept: %s", q.Location, why)
			continue
		}
		if q.boot != s.Facts.BootID {
			s.note("the host was rebooted since %s: that image shows its memory before; leave --resume out to take the memory of now, too", q.Location)
		}
		if q.addr != s.Info.Addr {
			s.note("%s was taken at the address %s; the same machine is at %s now", q.Location, q.addr, s.Info.Addr)
		}
		kept = append(kept, q)
	}
	s.choose(kept)
}

// differs says why the image is of another machine than the one that answers. The machine id
// is the target's word and clones share it, so the host key must be the same too, as far as
// both connections saw one of the same type.
func (q *Prior) differs(now transport.Info, f *Facts) string {
	switch {
	case q.machine != f.MachineID:
		return fmt.Sprintf("another machine answers to the name now: its machine id is %q, that of the image %q", f.MachineID, q.machine)
	case q.otherKey(now) != "":
		return q.otherKey(now)
	case f.MachineID == "" && q.boot != f.BootID && q.key != now.HostKey:
		return "the host says no machine id, was rebooted, and showed another host key: it may be another machine"
	}
	return ""
}

// otherKey says so if both connections saw a host key of one type, and not the same.
func (q *Prior) otherKey(now transport.Info) string {
	if q.keyType != now.HostKeyType || q.key == now.HostKey {
		return ""
	}
	return fmt.Sprintf("another machine may answer to the name now: its host key is %s, that of the image %s", now.HostKey, q.key)
}

// unreached notes what it means for images of s that its host cannot be asked. Whoever shows
// a wrong host key is not the machine of any.
func (s *Step) unreached(err error) error {
	if len(s.priors) == 0 {
		return err
	}
	if _, other := errors.AsType[*transport.HostKeyError](err); other {
		for _, q := range s.priors {
			s.note("%s is not kept: whether it is of the machine that answers now is not known", q.Location)
		}
		s.choose(nil)
		return err
	}
	// Whoever let us in and then said nothing has shown a key all the same.
	var kept []*Prior
	for _, q := range s.priors {
		if why := q.otherKey(s.Info); why != "" {
			s.note("%s is not kept: %s", q.Location, why)
			continue
		}
		kept = append(kept, q)
	}
	if s.choose(kept); s.Prior == nil {
		return err
	}
	s.note("whether %s is of the machine that has this name now was not checked: %v", s.priors[0].Location, err)
	return err
}

func (s *Step) choose(kept []*Prior) {
	if s.priors, s.Prior = kept, nil; len(kept) > 0 {
		s.Prior = kept[0]
	}
}

func (s *Step) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// Images are read again a few at once, each by a few goroutines, beside the captures, which
// come first: hosts that are still to be taken lose memory while they wait.
const (
	rereadWorkers = 2
	// rereadMemory is what one takes: the blocks of a reader of S3 above all.
	rereadMemory = 80 << 20
)

// rereaders is how many images are read again at once.
func rereaders() int { return max(1, min(4, runtime.GOMAXPROCS(0)/rereadWorkers)) }

// keep reads the images of earlier runs again, newest first. ok says that one of them is
// whole; what is wrong with the others is told.
func (s *Step) keep(ctx context.Context) (res Result, ok bool) {
	for _, q := range s.priors {
		s.opts.Observer(Rereading{host(s.Host), q})
		rep, err := Verify(ctx, s.opts.Sink.(sink.Opener), q.Image, VerifyOptions{
			Signers: s.opts.Resume.Signers, At: s.opts.Now(), Workers: rereadWorkers,
		})
		if ctx.Err() != nil {
			return s.fail(ctx, context.Cause(ctx)), true
		}
		if err == nil {
			err = q.kept(rep, s)
		}
		if err == nil {
			m := rep.Manifest
			if why := s.uncollected(m); why != "" {
				s.note("%s is kept %s", q.Location, why)
			}
			res := Result{Host: s.Host, State: StateComplete, Image: m.Image, KeptFrom: m.Created}
			res.Image.Location = q.Location
			res.Manifest, res.Signature = q.Location+ManifestSuffix, q.Location+ManifestSuffix+SignatureSuffix
			return res, true
		}
		s.note("%s is not kept: %v", q.Location, err)
		s.opts.Observer(Problem{host(s.Host), fmt.Errorf("%s is not kept: %w", q.Location, err)})
	}
	return Result{}, false
}

// kept says why what was read is not the image that the plan found, whole.
func (q *Prior) kept(rep *VerifyReport, s *Step) error {
	// An encrypted image is kept without its key: every stored byte was read again.
	if rep.Verdict != VerdictOK && rep.Verdict != VerdictIntact {
		var why []string
		for _, p := range rep.Problems[:min(3, len(rep.Problems))] {
			why = append(why, p.What+": "+p.Detail)
		}
		if n := len(rep.Problems); n > 3 {
			why = append(why, fmt.Sprintf("and %d more", n-3))
		}
		return &hinted{fmt.Errorf("it is not intact (%s): %s", rep.Verdict, strings.Join(why, "; ")),
			"shotglass verify tells all that is wrong with it"}
	}
	if m := rep.Manifest; m.Case != s.opts.Case || m.Target.Host != s.Host {
		return errors.New("its manifest has changed since the plan")
	}
	// Who is to read the images must be able to read this one.
	for _, name := range agefile.Names(s.opts.Recipients) {
		if !slices.Contains(rep.Manifest.Image.Recipients, name) {
			return fmt.Errorf("it is not encrypted to %s, as was asked", name)
		}
	}
	if s.opts.Swap && rep.Manifest.swapMissing() {
		return errors.New("its swap is not, or not all, there, and --swap asks for it")
	}
	// So are the zeros that this run accepts in place of memory.
	if u := rep.Manifest.Unreadable; u != nil && u.Pages > s.opts.AcceptUnreadable {
		return fmt.Errorf("%d pages of it could not be read and are zeros, and --accept-unreadable accepts %d", u.Pages, s.opts.AcceptUnreadable)
	}
	return nil
}

// uncollected says what was asked to be collected now, and does not lie beside the image that m records; empty
// if all of it does. It is no reason to read memory again.
func (s *Step) uncollected(m *Manifest) string {
	if len(s.opts.Collect) == 0 {
		return ""
	}
	if m.Live == nil {
		return "though nothing was collected beside it"
	}
	if !m.Live.Complete {
		return "though what was collected beside it is not all stored"
	}
	var names []string
	for _, k := range s.opts.Collect {
		if !slices.ContainsFunc(m.Live.Items, func(it live.Item) bool { return it.Name == k.Name && !it.Begun.IsZero() }) {
			names = append(names, k.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "though this was not collected beside it: " + strings.Join(names, ", ")
}

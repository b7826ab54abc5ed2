package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/crc64nvme"

	"github.com/shotglass-ir/shotglass/sink"
)

// A spill is the folder in which an object goes on when the bucket fails:
// Options.Spill/NAME.spill. See the package comment.
type spill struct {
	disk folder
	dir  string
	why  error  // of the bucket
	free func() // gives back the room for what is in memory and the description; nil: given
	full error  // the disk took the last part that it could

	journal journal
}

// A folder is a sink.Disk.
type folder interface {
	sink.Sink
	sink.Opener
	sink.Reserver
}

// spillSuffix ends the name of an object's folder.
const spillSuffix = ".spill"

// describing is room for the description of 10,000 parts, and for their journal.
const describing = 8 << 20

// spillable says that what failed can go on in the folder. Against what lies under our name no folder
// helps, but what is in it already stays and is described. Nor does one against a service that
// stored something else than it was sent.
func (o *object) spillable(err error) bool {
	var p *partError
	switch {
	case o.s.opts.Spill == "" || o.stored != nil:
		return false
	case errors.Is(err, sink.ErrExists):
		return o.spill != nil
	case errors.As(err, &p):
		return true
	}
	return !errors.Is(err, errChecksum)
}

// beginSpill makes the folder and moves there, in order, every part that the service does
// not have.
func (o *object) beginSpill(why error) error {
	o.s.shaky.Store(true)
	if o.spill == nil {
		memory := int64(o.s.opts.Concurrency+2) * grown(o.partSize, o.planned, len(o.parts))
		sp, err := o.s.newSpill(o.name, memory+describing+int64(len(o.note)))
		if err != nil {
			return fmt.Errorf("spill: %w", err)
		}
		sp.why, o.spill = why, sp
		if !o.local {
			o.s.warn(fmt.Sprintf("%s: the bucket failed, what comes now goes to %s: %v", o.name, sp.dir, why))
		}
	}
	if err := o.wait(context.Background()); err != nil {
		return err
	}
	o.list() // before the first part comes: what the object is, and what the bucket has
	for _, p := range o.parts {
		if err := o.spillPart(p); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sink) newSpill(name string, room int64) (*spill, error) {
	if err := os.MkdirAll(s.opts.Spill, 0o700); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.opts.Spill, name+spillSuffix)
	err := os.Mkdir(dir, 0o700)
	for n := 2; errors.Is(err, fs.ErrExist) && n < 100; n++ { // pieces of an earlier capture
		dir = filepath.Join(s.opts.Spill, fmt.Sprintf("%s-%d%s", name, n, spillSuffix))
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return nil, err
	}
	disk, err := s.opts.folder(dir)
	if err != nil {
		return nil, err
	}
	// When the disk is full, what was taken already must still fit. If there is not even that much,
	// what fits is better than nothing.
	free, err := disk.Reserve(context.Background(), "room", room)
	if err != nil {
		free = nil
	}
	return &spill{disk: disk, dir: dir, free: free}, nil
}

// release gives back the room that was kept, once.
func (sp *spill) release() bool {
	if sp.free == nil {
		return false
	}
	sp.free()
	sp.free = nil
	return true
}

// spillPart makes a part that the service does not have durable in the folder. When the
// disk is full, the room that was kept is used, and nothing more is taken.
func (o *object) spillPart(p *part) error {
	if p.stored || p.file != "" {
		return nil
	}
	err := o.spill.write(p)
	if err != nil && o.spill.release() {
		o.spill.full = fmt.Errorf("spill to %s: %w", o.spill.dir, err)
		err = o.spill.write(p)
	}
	if err != nil {
		return fmt.Errorf("spill to %s: %w", o.spill.dir, err)
	}
	o.recycle(p)
	o.list()
	return nil
}

// partName is the file of a part.
func partName(number int32) string { return fmt.Sprintf("part-%05d", number) }

func (sp *spill) write(p *part) error {
	name := partName(p.number)
	if err := sp.store(name, p.data); err != nil {
		return err
	}
	sum := sha256.Sum256(p.data)
	p.file, p.sha256 = name, hex.EncodeToString(sum[:])
	return nil
}

// store writes a file of the folder, durably.
func (sp *spill) store(name string, data []byte) error {
	ctx := context.Background() // a disk waits for nothing
	f, err := sp.disk.Create(ctx, name)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		if _, err = f.Commit(ctx); err == nil {
			return nil
		}
	}
	return errors.Join(err, f.Abort(ctx))
}

// uploadName is the file that names the upload which was begun for what lies in the folder, if the
// description, which a manifest may have signed, names none that is there.
const uploadName = "upload"

// remember writes the upload down before its first part is sent, so that who goes on begins no other.
func (sp *spill) remember(upload string) error {
	name := filepath.Join(sp.dir, uploadName)
	if err := os.WriteFile(name+".new", []byte(upload), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// begun returns what was remembered; empty: nothing.
func (sp *spill) begun() string {
	f, err := os.Open(filepath.Join(sp.dir, uploadName))
	if err != nil {
		return ""
	}
	defer f.Close()
	id, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return ""
	}
	return string(id)
}

// ErrAltered is wrapped by errors about files of pieces that are not what was written.
var ErrAltered = errors.New("altered")

// load returns the bytes of a part, from memory or from the folder. These are checked: they may
// have lain there for days.
func (o *object) load(p *part) ([]byte, error) {
	if p.file == "" {
		return p.data, nil
	}
	f, err := o.spill.disk.Open(context.Background(), p.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() != p.size {
		return nil, fmt.Errorf("%s: %w: %d bytes, %d were written", filepath.Join(o.spill.dir, p.file), ErrAltered, f.Size(), p.size)
	}
	data := make([]byte, p.size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); crc64nvme.Checksum(data) != p.crc || hex.EncodeToString(sum[:]) != p.sha256 {
		return nil, fmt.Errorf("%s: %w: it is not what was written", filepath.Join(o.spill.dir, p.file), ErrAltered)
	}
	return data, nil
}

// remove deletes the folder of an object that the service has whole. What is gone already, since an
// earlier one was cut off, does not matter.
func (sp *spill) remove(parts []*part) error {
	sp.release()
	sp.journal.close()
	var names []string
	for _, p := range parts {
		if p.file != "" {
			names = append(names, p.file)
		}
	}
	var errs []error
	for _, name := range append(names, uploadName, uploadName+".new", journalName, piecesName+sink.PartialSuffix, piecesName) { // what describes the rest last
		if err := os.Remove(filepath.Join(sp.dir, name)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, os.Remove(sp.dir))...)
}

// pend ends an object that the service does not take: what it does not have lies in the folder,
// with a description from which Finish makes the object.
func (o *object) pend(partial bool, why error) (sink.Receipt, error) {
	var r sink.Receipt
	if err := o.beginSpill(why); err != nil && (!partial || o.spill == nil) {
		return r, errors.Join(why, err)
	}
	if len(o.buf) > 0 || len(o.parts) == 0 {
		o.cut()
		if err := o.spillPart(o.parts[len(o.parts)-1]); err != nil && !partial {
			return r, errors.Join(why, err)
		}
	}
	whole := o.durable()
	if len(whole) == 0 {
		return r, why
	}
	last := whole[len(whole)-1]
	if partial && last.end == 0 {
		return r, why
	}
	o.spill.release()
	p, err := o.describe(whole, partial)
	if err != nil {
		return r, errors.Join(why, err)
	}
	o.size = last.end
	o.s.pend(o.name)
	o.stored = &sink.Receipt{Name: o.name, Size: o.size, Pending: p}
	o.setLocation(o.spill.dir)
	return o.end(partial), nil
}

// durable returns the parts up to the first that neither the service nor the folder has.
func (o *object) durable() []*part {
	for i, p := range o.parts {
		if !p.stored && p.file == "" {
			return o.parts[:i]
		}
	}
	return o.parts
}

// pend remembers that an object is in pieces: what lies beside it must not come before it.
func (s *Sink) pend(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, name)
}

// awaits returns the object in pieces that name lies beside, if there is one.
func (s *Sink) awaits(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pending {
		if strings.HasPrefix(name, p+".") {
			return p
		}
	}
	return ""
}

func (s *Sink) warn(text string) {
	s.opts.Warn(text)
}

// Spill returns the folder that takes what the bucket does not.
func (s *Sink) Spill() sink.SpaceChecker {
	if s.opts.Spill == "" {
		return nil
	}
	disk, err := sink.NewDisk(s.opts.Spill)
	if err != nil {
		return nil
	}
	return disk
}

// Waiting implements sink.Waiter: the folders of earlier captures whose bucket failed.
func (s *Sink) Waiting() (list []sink.Listed, err error) {
	if s.opts.Spill == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(s.opts.Spill)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		dir := filepath.Join(s.opts.Spill, e.Name())
		name, ok := strings.CutSuffix(e.Name(), spillSuffix)
		files, ferr := os.ReadDir(dir)
		if !ok || !e.IsDir() || ferr != nil || len(files) == 0 {
			continue
		}
		l := sink.Listed{Name: name, Location: dir}
		for _, f := range files {
			if info, ierr := f.Info(); ierr == nil {
				l.Size, l.Time = l.Size+info.Size(), info.ModTime()
			}
		}
		list = append(list, l)
	}
	return list, err
}

package s3

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/minio/crc64nvme"

	"github.com/shotglass-ir/shotglass/sink"
)

// A journal describes the pieces of an object while it is being written, for the case that this process does not live to
// write the description. The first line is what Pieces says of the object, with its note, and is synced before the first part is written; each
// further one is a part, in order, and is written and synced once the part is durable. It is locked as long as the object may still grow. A description
// stands in its place as soon as there is one.
type journal struct {
	file   *os.File
	size   int64 // of what is written and synced
	listed int   // parts
	told   bool  // that it cannot be written
}

const (
	journalName = "journal"
	journalType = "shotglass-journal"
)

// A journalLine is one part.
type journalLine struct {
	Piece
	Total string `json:"crc64nvme_total"` // of the object up to the end of the part
}

// ErrBegun is wrapped by errors about a journal that lists nothing but the upload that was begun; it is a sink.ErrNothing.
var ErrBegun = fmt.Errorf("%w, and an upload of it was begun", sink.ErrNothing)

// errBusy says that somebody holds the lock.
var errBusy = errors.New("locked")

// ErrWriting is wrapped by errors about pieces of an object whose capture goes on, as far as can be told.
var ErrWriting = errors.New("its capture still writes it")

// ErrJournal is wrapped by errors about a journal that cannot be understood. One that lists nothing is sink.ErrNothing.
var ErrJournal = errors.New("its journal is damaged")

// list adds the parts that are durable by now to the journal. A journal that cannot be written is told once, tried again with
// the next part, and stops nothing.
func (o *object) list() {
	j := &o.spill.journal
	err := o.extend(j)
	if err == nil || j.told {
		return
	}
	j.told = true
	o.s.warn(fmt.Sprintf("%s: should this process be killed, what is in %s will not all be found: %v", o.name, o.spill.dir, err))
}

func (o *object) extend(j *journal) error {
	var lines bytes.Buffer
	n := j.listed
	for ; n < len(o.parts) && (o.parts[n].stored || o.parts[n].file != ""); n++ {
		p := o.parts[n]
		line, err := json.Marshal(journalLine{p.piece(), checksum(p.total)})
		if err != nil {
			return err
		}
		lines.Write(append(line, '\n'))
	}
	if j.file == nil {
		if err := j.begin(o); err != nil {
			return err
		}
	}
	if n == j.listed {
		return nil
	}
	_, err := j.file.WriteAt(lines.Bytes(), j.size) // over what a failed attempt left
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return err
	}
	j.size, j.listed = j.size+int64(lines.Len()), n
	return nil
}

// Note implements sink.Noter.
func (o *object) Note(note []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended:
		return sink.ErrEnded
	case len(note) > sink.MaxNote:
		return fmt.Errorf("note of %s: it has %d bytes, more than %d", o.name, len(note), sink.MaxNote)
	case !json.Valid(note):
		return fmt.Errorf("note of %s: it is no JSON", o.name)
	}
	o.note = bytes.Clone(note)
	return nil
}

// begin makes the file with its first line.
func (j *journal) begin(o *object) error {
	d := o.head(time.Now())
	d.Type, d.Note = journalType, o.note
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false) // a note would grow by that, beyond what is read
	if err := e.Encode(d); err != nil {
		return err
	}
	head := line.Bytes()
	f, err := os.OpenFile(filepath.Join(o.spill.dir, journalName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if lerr := lock(f); errors.Is(lerr, errBusy) { // who reads cannot tell then either, and refuses
		err = lerr
	}
	if err == nil {
		_, err = f.WriteAt(head, 0)
	}
	if err == nil {
		err = errors.Join(f.Sync(), syncDir(o.spill.dir), syncDir(filepath.Dir(o.spill.dir)))
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	j.file, j.size = f, int64(len(head))
	return nil
}

func (j *journal) close() {
	if j.file != nil {
		j.file.Close() // all that counts is synced
		j.file = nil
	}
}

// Described reports whether a folder holds pieces that are described, be it by a journal.
func Described(dir string) bool {
	for _, name := range []string{piecesName, journalName} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// holdJournal opens the journal in a folder, and takes its lock.
func holdJournal(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, journalName), os.O_RDWR, 0) // some file systems lock only what can be written
	if err != nil {
		return nil, err
	}
	switch err := lock(f); {
	case errors.Is(err, errBusy):
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, ErrWriting), f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("%s: %w, or not: %w", dir, ErrWriting, err), f.Close())
	}
	return f, nil
}

// readJournal makes a description of what a killed process left. It is that of a partial object: what would have come is
// not known. A part that was durable and is not listed, since the process ended between the two or the line is torn, is found by its name.
func readJournal(dir string) (*Pieces, string, error) {
	f, err := holdJournal(dir)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPieces))
	if err != nil {
		return nil, "", err
	}
	d, total, err := parseJournal(data)
	if err == nil {
		err = d.adopt(dir, total)
	}
	if err == nil && len(d.Parts) == 0 && d.Upload != "" {
		return nil, "", fmt.Errorf("%s: %w: bucket %q, key %q, upload ID %q", dir, ErrBegun, d.Bucket, d.Prefix+d.Name, d.Upload)
	}
	if err == nil && len(d.Parts) == 0 {
		return nil, "", fmt.Errorf("%s: %w", dir, sink.ErrNothing)
	}
	if err == nil {
		err = d.valid()
	}
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w: %w", f.Name(), ErrJournal, err)
	}
	sum := sha256.Sum256(data)
	return d, hex.EncodeToString(sum[:]), nil
}

// parseJournal reads the lines up to the first that does not follow the ones before it. It returns the CRC64NVME up to there too.
func parseJournal(data []byte) (*Pieces, uint64, error) {
	lines := bufio.NewReader(bytes.NewReader(data))
	head, err := lines.ReadBytes('\n')
	if err != nil {
		return nil, 0, errors.New("its first line is cut short")
	}
	d := new(Pieces)
	if err := json.Unmarshal(head, d); err != nil {
		return nil, 0, err
	}
	if d.Type != journalType {
		return nil, 0, fmt.Errorf("type %q: want %s", d.Type, journalType)
	}
	d.Type, d.Partial, d.Killed, d.Parts, d.Size = piecesType, true, true, nil, 0
	var total uint64
	for len(d.Parts) < maxParts {
		var l journalLine
		line, err := lines.ReadBytes('\n')
		if err != nil || json.Unmarshal(line, &l) != nil || l.Size < 0 || l.Size > maxPartSize || int(l.Number) != len(d.Parts)+1 {
			break
		}
		sum, err := parseChecksum(l.Total)
		if err != nil {
			break
		}
		total = sum
		d.Parts, d.Size = append(d.Parts, l.Piece), d.Size+l.Size
	}
	d.CRC = checksum(total)
	return d, total, nil
}

// adopt adds the files that follow the last part. A file has its name only once its bytes are synced.
func (d *Pieces) adopt(dir string, total uint64) error {
	for len(d.Parts) < maxParts {
		p := Piece{Number: int32(len(d.Parts) + 1)}
		p.File = partName(p.Number)
		info, err := os.Lstat(filepath.Join(dir, p.File))
		if errors.Is(err, fs.ErrNotExist) || err == nil && (!info.Mode().IsRegular() || info.Size() > maxPartSize) {
			return nil
		}
		if err != nil {
			return err
		}
		if total, err = p.digest(dir, total); err != nil {
			return err
		}
		d.Parts, d.Size, d.CRC = append(d.Parts, p), d.Size+p.Size, checksum(total)
	}
	return nil
}

// aside moves what a killed process left of a part that it was writing, of which nobody knows whether it is what was
// captured, out of the folder, which is to be removed. It returns where that lies; empty: there is none.
func (o *object) aside() (string, error) {
	name := partName(int32(len(o.parts)+1)) + sink.PartialSuffix
	from := filepath.Join(o.spill.dir, name)
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err == nil && info.Size() == 0 {
		return "", os.Remove(from)
	}
	to := filepath.Join(filepath.Dir(o.spill.dir), o.name+"."+name)
	if err == nil {
		if _, terr := os.Lstat(to); terr == nil {
			err = fmt.Errorf("%s: %w", to, fs.ErrExist)
		} else {
			err = os.Rename(from, to)
		}
	}
	return to, err
}

// digest reads the file, and sets size and digests. It returns total with the file's bytes added.
func (p *Piece) digest(dir string, total uint64) (uint64, error) {
	f, err := os.Open(filepath.Join(dir, p.File))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	sum, crc, buf := sha256.New(), uint64(0), make([]byte, 1<<20)
	for p.Size <= maxPartSize {
		n, err := f.Read(buf)
		sum.Write(buf[:n])
		crc, total = crc64nvme.Update(crc, buf[:n]), crc64nvme.Update(total, buf[:n])
		p.Size += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	p.CRC, p.SHA256 = checksum(crc), hex.EncodeToString(sum.Sum(nil))
	return total, nil
}

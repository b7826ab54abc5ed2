package s3

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shotglass-ir/shotglass/sink"
)

// Finish makes an object of the pieces in a folder, and removes the folder when the service has it
// whole. access says how the bucket is reached, where that is not as the description says. It
// can be called again after an error.
func Finish(ctx context.Context, dir string, access Options) (sink.Receipt, error) {
	return FinishThen(ctx, dir, access, nil)
}

// FinishThen is Finish, and calls then, if it is set, when the service has the object, before the folder is removed; it stays if
// then fails.
func FinishThen(ctx context.Context, dir string, access Options, then func(*Sink, sink.Receipt) error) (sink.Receipt, error) {
	d, _, err := ReadPieces(dir)
	if err != nil {
		return sink.Receipt{}, err
	}
	s, err := d.Place(ctx, access)
	if err != nil {
		return sink.Receipt{}, err
	}
	api, err := s.client(ctx)
	if err != nil {
		return sink.Receipt{}, err
	}
	o, err := d.object(ctx, s, api, dir)
	if err != nil {
		return sink.Receipt{}, err
	}
	defer o.finish()
	if d.Killed {
		if o.spill.journal.file, err = holdJournal(dir); err != nil {
			return sink.Receipt{}, err
		}
	}
	if err := o.find(ctx); err != nil {
		return sink.Receipt{}, err
	}
	if o.stored == nil { // else by an earlier Finish, whose answer was lost
		if err := o.store(ctx); err != nil {
			return sink.Receipt{}, err
		}
	}
	r := *o.stored
	r.Location, r.Partial = o.Location(), d.Partial
	if then != nil {
		if err := then(s, r); err != nil {
			return r, err
		}
	}
	if d.Killed {
		if rest, err := o.aside(); err != nil {
			o.s.warn(fmt.Sprintf("%s is stored; what was left of the part that was being written stays in %s: %v", r.Location, o.spill.dir, err))
		} else if rest != "" {
			o.s.warn(fmt.Sprintf("%s: the part that was being written is not in it, as nothing shows that it is what was captured: it is kept as %s", r.Location, rest))
		}
	}
	o.finishing = false
	o.unspill()
	r.Notes = o.stored.Notes
	return r, nil
}

// Place is where the object is to be, with access as Finish takes it.
func (d *Pieces) Place(ctx context.Context, access Options) (*Sink, error) {
	return New(ctx, d.options(access))
}

// options are those of the capture, but for what is the user's of today.
func (d *Pieces) options(access Options) Options {
	o := access
	o.Bucket, o.Prefix = d.Bucket, d.Prefix
	if o.Endpoint == "" {
		o.Endpoint, o.PathStyle = d.Endpoint, d.PathStyle || o.PathStyle
	}
	if o.Region == "" {
		o.Region = d.Region
	}
	if o.BucketOwner == "" {
		o.BucketOwner = d.Owner
	}
	return o
}

func parseChecksum(sum string) (uint64, error) {
	b, err := base64.StdEncoding.DecodeString(sum)
	if err != nil || len(b) != 8 {
		return 0, fmt.Errorf("%q is no CRC64NVME", sum)
	}
	return binary.BigEndian.Uint64(b), nil
}

// object is the one that was being written.
func (d *Pieces) object(ctx context.Context, s *Sink, api *s3.Client, dir string) (*object, error) {
	disk, err := sink.NewDisk(dir)
	if err != nil {
		return nil, err
	}
	total, err := parseChecksum(d.CRC)
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(ctx)
	o := &object{
		s: s, api: api, name: d.Name, life: life, stop: stop, terms: d.terms(s), size: d.Size, crc: total, planned: true, finishing: true,
		slots: make(chan struct{}, s.opts.Concurrency), free: make(chan []byte, s.opts.Concurrency+1),
		upload: optional(d.Upload), spill: &spill{disk: disk, dir: filepath.Clean(dir), why: errors.New(d.Why)},
	}
	o.setLocation(o.spill.dir)
	for _, p := range d.Parts {
		crc, err := parseChecksum(p.CRC)
		if err != nil {
			return nil, err
		}
		o.parts = append(o.parts, &part{number: p.Number, size: p.Size, crc: crc, etag: p.ETag, stored: p.ETag != "", file: p.File, sha256: p.SHA256})
	}
	return o, nil
}

// find compares what the service has of the upload with the description. Parts that it has by
// now are not sent again; parts that it lost are told.
func (o *object) find(ctx context.Context) error {
	if id := o.spill.begun(); id != "" { // by an earlier Finish; ours, if there was one, was gone then
		o.upload = &id
	}
	if o.upload == nil {
		return o.placed(ctx)
	}
	there := map[int32]string{}
	pages := s3.NewListPartsPaginator(o.api, &s3.ListPartsInput{
		Bucket: &o.s.opts.Bucket, Key: aws.String(o.s.key(o.name)), UploadId: o.upload, ExpectedBucketOwner: o.s.owner(),
	})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx, o.s.short, few)
		if err != nil {
			return o.unfound(ctx, o.s.fail("list the parts of the upload", o.name, err))
		}
		for _, p := range out.Parts {
			there[aws.ToInt32(p.PartNumber)] = fmt.Sprint(aws.ToInt64(p.Size), " ", strings.Trim(aws.ToString(p.ETag), `"`))
		}
	}
	return o.missing(func(p *part) bool {
		return there[p.number] != fmt.Sprint(p.size, " ", strings.Trim(p.etag, `"`))
	}, fmt.Errorf("upload %q does not have them any more", *o.upload))
}

// placed looks whether the service has the object: an earlier Finish may have been cut off while it removed
// the folder. A service that does not answer at all is an error now, not after all attempts of storing.
func (o *object) placed(ctx context.Context) error {
	head, err := o.s.head(ctx, o.api, o.name, few)
	if e := (*Error)(nil); err != nil && (!errors.As(err, &e) || e.Status == 0) {
		if len(o.parts) == 1 { // a small file: that it is another is told first
			if _, lerr := o.load(o.parts[0]); errors.Is(lerr, ErrAltered) {
				return &partError{o.parts[0].number, lerr}
			}
		}
		return err
	}
	if err != nil || head.Metadata[idKey] != o.terms.id {
		return nil // storing tells
	}
	return o.accept(ctx, o.name, o.size, o.crc, answer{head.ChecksumCRC64NVME, head.ETag, head.VersionId, head.ServerSideEncryption, head.SSEKMSKeyId})
}

// unfound answers why the upload cannot be looked at: it may have been completed, or be gone.
func (o *object) unfound(ctx context.Context, err error) error {
	if denied(err) {
		return nil // completing tells
	}
	if !isGone(err) {
		return err
	}
	if perr := o.placed(ctx); perr != nil || o.stored != nil {
		return perr
	}
	return o.missing(func(*part) bool { return true }, err)
}

// missing forgets that parts are stored that are not. Those that are nowhere else are lost, and told.
func (o *object) missing(gone func(*part) bool, why error) error {
	var size int64
	var lost []*part
	for _, p := range o.parts {
		switch {
		case !p.stored || !gone(p):
		case p.file != "":
			p.stored = false
		default:
			lost, size = append(lost, p), size+p.size
		}
	}
	if len(lost) > 0 {
		return fmt.Errorf("%s: %d parts with %d bytes are lost, the first is part %d: %w; what the bucket did not have is still in %s",
			o.s.location(o.name), len(lost), size, lost[0].number, why, o.spill.dir)
	}
	if isGone(why) {
		o.upload = nil // all is here: a new one does as well
	}
	return nil
}

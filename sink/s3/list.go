package s3

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shotglass-ir/shotglass/sink"
)

var _ sink.Lister = (*Sink)(nil)

// List returns the objects right under the prefix, and the multipart uploads that were not
// completed. Who may not ask for those gets the reason in Unknown.
func (s *Sink) List(ctx context.Context) (sink.Listing, error) {
	var l sink.Listing
	if err := ctx.Err(); err != nil {
		return l, err
	}
	api, err := s.client(ctx)
	if err != nil {
		return l, err
	}
	objects := s3.NewListObjectsV2Paginator(anyKeys{api}, &s3.ListObjectsV2Input{
		Bucket: &s.opts.Bucket, Prefix: &s.opts.Prefix, Delimiter: aws.String("/"), ExpectedBucketOwner: s.owner(),
	})
	for objects.HasMorePages() {
		page, err := objects.NextPage(ctx, s.short, few)
		if err != nil {
			return sink.Listing{}, s.listError(ctx, "list objects", err)
		}
		for _, o := range page.Contents {
			if name, ok := s.nameOf(o.Key); ok {
				l.Objects = append(l.Objects, sink.Listed{Name: name, Size: aws.ToInt64(o.Size), Time: aws.ToTime(o.LastModified), Location: s.location(name)})
			}
		}
	}
	uploads := s3.NewListMultipartUploadsPaginator(anyKeys{api}, &s3.ListMultipartUploadsInput{
		Bucket: &s.opts.Bucket, Prefix: &s.opts.Prefix, Delimiter: aws.String("/"), ExpectedBucketOwner: s.owner(),
	})
	for uploads.HasMorePages() {
		page, err := uploads.NextPage(ctx, s.short, few)
		if err != nil {
			if ctx.Err() != nil {
				return sink.Listing{}, cancelled(ctx, "list", s.String())
			}
			l.Unknown = s.fail("list unfinished uploads", "", err)
			break
		}
		for _, u := range page.Uploads {
			if name, ok := s.nameOf(u.Key); ok {
				l.Unfinished = append(l.Unfinished, sink.Listed{Name: name, Time: aws.ToTime(u.Initiated),
					Location: s.location(name) + "?uploadId=" + url.QueryEscape(aws.ToString(u.UploadId))})
			}
		}
	}
	l.Objects, l.Unfinished = joinSegments(l.Objects), joinUploads(l.Unfinished)
	order := func(a, b sink.Listed) int { return cmp.Or(cmp.Compare(a.Name, b.Name), a.Time.Compare(b.Time)) }
	slices.SortFunc(l.Objects, order) // S3 sorts, but not every server does
	slices.SortFunc(l.Unfinished, order)
	return l, nil
}

// joinSegments makes one object of segments whose list is there. Others stay what they are.
func joinSegments(in []sink.Listed) (out []sink.Listed) {
	whole := map[string]*sink.Listed{}
	for _, o := range in {
		if name, ok := strings.CutSuffix(o.Name, sink.SegmentsSuffix); ok {
			o.Name, o.Size, o.Location = name, 0, strings.TrimSuffix(o.Location, sink.SegmentsSuffix)
			whole[name] = &o
		}
	}
	for _, o := range in {
		name, ok := sink.SegmentOf(o.Name)
		switch w := whole[name]; {
		case !ok || w == nil:
			out = append(out, o)
		case !strings.HasSuffix(o.Name, sink.SegmentsSuffix):
			w.Size += o.Size
		}
	}
	for _, w := range whole {
		out = append(out, *w)
	}
	return out
}

// joinUploads names the objects that segments are of.
func joinUploads(in []sink.Listed) []sink.Listed {
	for i := range in {
		in[i].Name, _ = sink.SegmentOf(in[i].Name)
	}
	return in
}

// Tree returns the names of all objects under the prefix, below it and in folders there, in the order of keys. Names are as they are: they may be such as no object of
// ours can have.
func (s *Sink) Tree(ctx context.Context) (names []string, err error) {
	api, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	pages := s3.NewListObjectsV2Paginator(anyKeys{api}, &s3.ListObjectsV2Input{Bucket: &s.opts.Bucket, Prefix: &s.opts.Prefix, ExpectedBucketOwner: s.owner()})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, s.short, few)
		if err != nil {
			return nil, s.listError(ctx, "list objects", err)
		}
		for _, o := range page.Contents {
			names = append(names, strings.TrimPrefix(aws.ToString(o.Key), s.opts.Prefix))
		}
	}
	return names, nil
}

// Below is a folder of this place: a sink with the same connection and terms.
func (s *Sink) Below(ctx context.Context, folder string) (*Sink, error) {
	bucket, prefix, err := ParseURL(s.String() + folder)
	if err != nil {
		return nil, err
	}
	api, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	b := &Sink{opts: s.opts, cfg: s.cfg, creds: s.creds, api: api, found: true, taken: make(map[string]bool)}
	b.opts.Bucket, b.opts.Prefix = bucket, prefix
	return b, nil
}

// nameOf is the name of an object in this place.
func (s *Sink) nameOf(key *string) (string, bool) {
	name, ok := strings.CutPrefix(aws.ToString(key), s.opts.Prefix)
	return name, ok && sink.ValidName(strings.TrimSuffix(name, sink.PartialSuffix)) == nil
}

func (s *Sink) listError(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return cancelled(ctx, op, s.String())
	}
	return s.fail(op, "", err)
}

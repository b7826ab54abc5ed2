package flowlogs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// An s3API is what is called of S3.
type s3API interface {
	ListObjectsV2(context.Context, *s3.ListObjectsV2Input, ...func(*s3.Options)) (*s3.ListObjectsV2Output, error)
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
}

var _ s3API = (*s3.Client)(nil)

const (
	// aggregated is how long before a file's time its flows may have been, delivered how long after the flows its time may be.
	aggregated, delivered = 15 * time.Minute, 30 * time.Minute
	// pause is for how long a log may have no file, or no line of an interface: it has one every ten minutes or more often.
	pause = time.Hour
	// atOnce is how many files are read at once: most are small, and a request takes longer than what it brings.
	atOnce = 8
	// maxFiles bounds the files of a log: a year has 100,000 where each five minutes have one.
	maxFiles = 500000
)

// A place is where in S3 a log's files are.
type place struct {
	bucket, prefix string
	hive, hourly   bool
	account        string
	region, id     string
}

// placeOf is the place of a log that goes to S3; ok is false for one whose destination is no bucket.
func (w *work) placeOf(l types.FlowLog) (p place, ok bool) {
	_, path, ok := strings.Cut(aws.ToString(l.LogDestination), ":s3:::")
	bucket, prefix, _ := strings.Cut(path, "/")
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	p = place{bucket: bucket, prefix: prefix, account: w.i.Account, region: w.i.Region, id: aws.ToString(l.FlowLogId)}
	if o := l.DestinationOptions; o != nil {
		p.hive, p.hourly = aws.ToBool(o.HiveCompatiblePartitions), aws.ToBool(o.PerHourPartition)
	}
	return p, ok && bucket != ""
}

// partitions are what the names of the log's files begin with that have flows of a time: one for each day or hour.
func (p place) partitions(since, until time.Time) (list []string) {
	step, layout := 24*time.Hour, "2006/01/02/"
	root := p.prefix + "AWSLogs/" + p.account + "/vpcflowlogs/" + p.region + "/"
	if p.hive {
		layout = "year=2006/month=01/day=02/"
		root = p.prefix + "AWSLogs/aws-account-id=" + p.account + "/aws-service=vpcflowlogs/aws-region=" + p.region + "/"
	}
	switch {
	case p.hourly && p.hive:
		step, layout = time.Hour, layout+"hour=15/"
	case p.hourly:
		step, layout = time.Hour, layout+"15/"
	}
	for at := since.UTC().Truncate(step); !at.After(until); at = at.Add(step) {
		list = append(list, root+at.Format(layout)+p.account+"_vpcflowlogs_"+p.region+"_"+p.id+"_")
	}
	return list
}

// A file is one of a log.
type file struct {
	key  string
	at   time.Time
	size int64 // as it is stored
	etag string
}

var fileName = regexp.MustCompile(`^(\d{8}T\d{4}Z)_[0-9A-Za-z]+\.log\.(gz|parquet)$`)

// list lists a log's files of a time, the earliest first.
func (p place) list(ctx context.Context, api s3API, since, until time.Time) (files []file, err error) {
	since, until = since.Add(-aggregated), until.Add(delivered)
	for _, prefix := range p.partitions(since, until) {
		pages := s3.NewListObjectsV2Paginator(api, &s3.ListObjectsV2Input{Bucket: &p.bucket, Prefix: &prefix})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, err
			}
			for _, o := range page.Contents {
				m := fileName.FindStringSubmatch(strings.TrimPrefix(aws.ToString(o.Key), prefix))
				if m == nil {
					continue
				}
				if at, err := time.Parse("20060102T1504Z", m[1]); err == nil && !at.Before(since) && !at.After(until) {
					files = append(files, file{*o.Key, at, aws.ToInt64(o.Size), aws.ToString(o.ETag)})
				}
				if len(files) > maxFiles {
					return nil, fmt.Errorf("there are more than %d files", maxFiles)
				}
			}
		}
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Or(a.at.Compare(b.at), strings.Compare(a.key, b.key)) })
	return files, nil
}

// s3 is the client of a region. Emulators have no host name for each bucket.
func (w *work) s3(region string) *s3.Client {
	return s3.NewFromConfig(w.cfg, func(o *s3.Options) {
		o.Region, o.UsePathStyle = region, o.BaseEndpoint != nil
		o.DisableLogOutputChecksumValidationSkipped = true // who delivers logs may store none
	})
}

// readBucket reads a log's files. What of the time has none is a gap; files that cannot be read are named, and the others read.
func (w *work) readBucket(ctx context.Context, s *scan, p place) error {
	api := w.s3(w.cfg.Region)
	until := w.Until
	if until.IsZero() {
		until = time.Now()
	}
	files, err := p.list(ctx, api, w.since, until)
	if home := regionIn(err); home != "" && home != w.cfg.Region {
		api = w.s3(home)
		files, err = p.list(ctx, api, w.since, until)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", p.bucket, err)
	}
	stored := int64(0)
	for _, f := range files {
		stored += f.size
	}
	if len(files) > 0 {
		w.before(s, len(files), stored)
	}
	times := make([]time.Time, len(files))
	for i, f := range files {
		times[i] = f.at
	}
	w.pauses(s, "file", times, until)
	return w.readFiles(ctx, api, s, p.bucket, files)
}

// pauses finds what a log has no file, or no line of an interface, of: deleted, expired or never written. The times of those that it has are in order.
func (w *work) pauses(s *scan, what string, times []time.Time, until time.Time) {
	last := w.since
	if s.From.After(last) {
		last = s.From
	}
	if !last.Before(until) {
		return // that it has nothing of before is said
	}
	if len(times) == 0 {
		w.gap(s, "%s has no %s of %s to %s in %s", s.ID, what, last.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339), s.To)
		return
	}
	n, text := 0, ""
	for _, at := range append(slices.Clone(times), until) {
		if at.Sub(last) > pause {
			if n++; n == 1 {
				text = fmt.Sprintf("%s has no %s of %s to %s in %s", s.ID, what, last.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339), s.To)
			}
		}
		if at.After(last) {
			last = at
		}
	}
	if n > 1 {
		text += fmt.Sprintf(", and none of %d more times of over an hour", n-1)
	}
	if n > 0 {
		w.gap(s, "%s", text)
	}
}

// ofOne are errors of S3 that say nothing of other files: gone, archived, replaced since it was listed.
var ofOne = []string{"NoSuchKey", "InvalidObjectState", "PreconditionFailed", "InvalidRange"}

// readFiles reads files of a log, several at once. One that is gone, archived or broken does not keep the others from being read.
func (w *work) readFiles(ctx context.Context, api s3API, s *scan, bucket string, files []file) error {
	failed, first, done := 0, error(nil), make([]bool, len(files))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, f := range files {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			err := w.readFile(gctx, api, s, bucket, f)
			var stop *stopError
			if err == nil || errors.As(err, &stop) || gctx.Err() != nil {
				done[i] = err == nil
				return err
			}
			if code := awsconfig.Code(err); code != "" && !slices.Contains(ofOne, code) {
				return fmt.Errorf("%q: %w", f.key, err)
			}
			done[i] = true
			w.mu.Lock()
			defer w.mu.Unlock()
			if failed++; first == nil {
				first = fmt.Errorf("%q: %w", f.key, err)
			}
			return nil
		})
	}
	err := g.Wait()
	if failed > 0 {
		w.missed("%s: of %d files %d could not be read whole: %v", s.ID, len(files), failed, first)
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("after %d lines: %w", s.Lines, context.Cause(ctx))
	}
	if at := slices.Index(done, false); err != nil && at >= 0 {
		err = fmt.Errorf("%w; its files of %s and later were not read, or not whole", err, files[at].at.Format(time.RFC3339))
	}
	return err
}

// regionIn is the region of a bucket that an error tells: S3 names it even when it refuses.
func regionIn(err error) string {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) && r.Response != nil {
		return r.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return ""
}

package flowlogs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shotglass-ir/shotglass/cmd/internal/parquet"
)

// small is the size up to which a file is fetched whole: a request takes as long as some MiB do.
const small = 4 << 20

// readParquet reads a file of a log in S3 as Parquet: of a large one, the columns that are needed.
func (w *work) readParquet(ctx context.Context, s *scan, o *object) error {
	var r io.ReaderAt = o
	if o.size <= small {
		b := make([]byte, o.size)
		if _, err := o.ReadAt(b, 0); err != nil {
			return err
		}
		r = bytes.NewReader(b)
	}
	f, err := parquet.Open(r, o.size)
	if err != nil {
		return err
	}
	var columns, names []string
	for _, c := range f.Columns() {
		if name := strings.ReplaceAll(c, "_", "-"); slices.Contains(fieldNames[:], name) && !slices.Contains(names, name) {
			columns, names = append(columns, c), append(names, name)
		}
	}
	form := formatOf(names)
	if form == nil {
		return errNoColumns
	}
	t := w.tally(s, form)
	t.own = true
	if err := f.Read(ctx, columns, t.row); err != nil {
		return err
	}
	return t.flush()
}

// An object is a file in S3, read by ranges, as it was when it was listed.
type object struct {
	ctx    context.Context // of the reading: an io.ReaderAt is given none
	api    s3API
	bucket string
	file
}

var _ io.ReaderAt = (*object)(nil)

func (o *object) ReadAt(b []byte, at int64) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	in := &s3.GetObjectInput{Bucket: &o.bucket, Key: &o.key, Range: aws.String(fmt.Sprintf("bytes=%d-%d", at, at+int64(len(b))-1))}
	if o.etag != "" {
		in.IfMatch = &o.etag
	}
	out, err := o.api.GetObject(o.ctx, in)
	if err != nil {
		return 0, err
	}
	defer out.Body.Close()
	n, err := io.ReadFull(out.Body, b)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

package s3

// Limits of S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
const (
	minPartSize     = 5 << 20
	maxPartSize     = 5 << 30
	maxParts        = 10_000
	defaultPartSize = 16 << 20

	defaultSegmentSize = 512 << 30
)

// planParts is for how many parts an expected size is planned. The rest is for what
// does not compress: that grows by 0.4 %.
const planParts = 9_500

// partSize returns the size of the parts of an object of expected bytes.
func partSize(least, expected int64) int64 {
	bound := expected + expected/250
	size := (bound + planParts - 1) / planParts
	size = (size + 1<<20 - 1) &^ (1<<20 - 1)
	return min(max(least, size), maxPartSize)
}

// Memory returns the bytes that an image of about expected bytes takes: the parts under way and
// the one that is being filled.
func (s *Sink) Memory(expected int64) int64 {
	return int64(s.opts.Concurrency+1) * partSize(s.opts.PartSize, min(expected, s.opts.SegmentSize))
}

// grown returns the size of part n, counted from 0. Parts grow so that 10,000 suffice for
// whatever comes: without a plan they double every 1,000 (from 16 MiB that makes 15 TiB),
// with one from where the plan ends.
func grown(size int64, planned bool, n int) int64 {
	shift := n / 1000
	if planned {
		shift = max(0, n-planParts) / 50
	}
	return min(size<<shift, maxPartSize)
}

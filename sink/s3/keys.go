package s3

import (
	"context"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// anyKeys is the API for lists of keys, whatever is in them. It asks for URL-encoded ones, since XML has no room for control characters: without, one such key makes a
// whole page unreadable. Its answers have them decoded; servers that know no encoding say so by not naming one.
type anyKeys struct{ *s3.Client }

func (a anyKeys) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input, opts ...func(*s3.Options)) (*s3.ListObjectsV2Output, error) {
	ask := *in
	ask.EncodingType = types.EncodingTypeUrl
	out, err := a.Client.ListObjectsV2(ctx, &ask, opts...)
	if err == nil && out.EncodingType == types.EncodingTypeUrl {
		for i := range out.Contents {
			decode(out.Contents[i].Key)
		}
	}
	return out, err
}

func (a anyKeys) ListMultipartUploads(ctx context.Context, in *s3.ListMultipartUploadsInput, opts ...func(*s3.Options)) (*s3.ListMultipartUploadsOutput, error) {
	ask := *in
	ask.EncodingType = types.EncodingTypeUrl
	out, err := a.Client.ListMultipartUploads(ctx, &ask, opts...)
	if err == nil && out.EncodingType == types.EncodingTypeUrl {
		decode(out.NextKeyMarker)
		for i := range out.Uploads {
			decode(out.Uploads[i].Key)
		}
	}
	return out, err
}

// decode leaves what is not encoded as it is.
func decode(key *string) {
	if plain, err := url.QueryUnescape(aws.ToString(key)); err == nil && key != nil {
		*key = plain
	}
}

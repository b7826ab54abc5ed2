package evidencebucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// ErrNoBucket says that nobody has a bucket of this name.
var ErrNoBucket = errors.New("there is no bucket of this name")

// Taken reports whether anybody has a bucket of this name. Where that could not be asked it says so, too.
func (p Place) Taken(ctx context.Context, cfg aws.Config) bool {
	_, found, _ := Place{Bucket: p.Bucket, PathStyle: p.PathStyle}.find(ctx, cfg)
	return found
}

// Owned reports whether the account Owner owns a bucket. S3 tells nobody whose one is, but refuses a call that expects another owner: a bucket that
// may be listed without that, and not with it, is another's. Who may not list it gets an error, and nothing is known; so does who asks a server that
// lets a call through which expects an account that is known not to be the owner.
func (p Place) Owned(ctx context.Context, cfg aws.Config, stranger string) (bool, error) {
	whoever := Place{Bucket: p.Bucket, PathStyle: p.PathStyle}
	region, found, err := whoever.find(ctx, cfg)
	switch {
	case !found:
		return false, ErrNoBucket
	case err != nil && region == "":
		return false, err
	}
	api := p.client(cfg, region) // find may have been sent there, and has then not listed it
	if _, err := api.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &p.Bucket}); err != nil {
		return false, err
	}
	expect := func(account string) (bool, error) {
		_, err := api.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &p.Bucket, ExpectedBucketOwner: &account})
		if status(err) == http.StatusForbidden {
			return false, nil
		}
		return err == nil, err
	}
	if owned, err := expect(p.Owner); !owned || err != nil {
		return false, err
	}
	blind, err := expect(stranger)
	if blind {
		err = fmt.Errorf("this server lets also calls through that expect account %s as the owner, which it is not: it is not AWS's S3", stranger)
	}
	return err == nil, err
}

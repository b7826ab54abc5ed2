package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// config loads configuration and credentials. Those that expire are renewed while a
// capture runs: the provider is asked before every attempt of every call.
func (o *Options) config(ctx context.Context) (aws.Config, error) {
	load := []func(*config.LoadOptions) error{config.WithAppID("shotglass")}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.Profile))
	}
	if o.HTTPClient != nil {
		load = append(load, config.WithHTTPClient(o.HTTPClient))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return cfg, err
	}
	if cfg.Region == "" && aws.IsCredentialsProvider(cfg.Credentials, (*ec2rolecreds.Provider)(nil)) {
		cfg.Region = machineRegion(ctx, cfg)
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1" // until the bucket says otherwise
	}
	if o.RoleARN != "" {
		role := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), o.RoleARN, func(r *stscreds.AssumeRoleOptions) {
			r.RoleSessionName, r.ExternalID = "shotglass", optional(o.ExternalID)
		})
		cfg.Credentials = aws.NewCredentialsCache(role, func(c *aws.CredentialsCacheOptions) { c.ExpiryWindow = 5 * time.Minute })
	}
	return cfg, nil
}

// machineRegion is the region of the EC2 instance that this runs on; empty if its metadata service does not answer within a second. It is asked only where
// credentials come from it too. Such a machine may reach S3 of its own region and no other, so that no bucket could say where it is.
func machineRegion(ctx context.Context, cfg aws.Config) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	out, err := imds.NewFromConfig(cfg, func(o *imds.Options) { o.Retryer = aws.NopRetryer{} }).GetRegion(ctx, nil)
	if err != nil {
		return ""
	}
	return out.Region
}

// client returns the API, in the region of the bucket.
func (s *Sink) client(ctx context.Context) (*s3.Client, error) {
	s.ready.Lock()
	defer s.ready.Unlock()
	if s.api == nil {
		s.api = s.newClient(s.cfg.Region)
	}
	if s.found || s.api.Options().BaseEndpoint != nil {
		return s.api, nil // other servers take any region
	}
	region, err := s.region(ctx, s.api)
	if err != nil {
		return nil, err
	}
	if region != "" && region != s.cfg.Region {
		s.api = s.newClient(region)
	}
	s.found = true
	return s.api, nil
}

// region asks where the bucket is. Also a refusal says so. Empty: unknown, and the call
// that needs it will tell.
func (s *Sink) region(ctx context.Context, api *s3.Client) (string, error) {
	out, err := api.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.opts.Bucket, ExpectedBucketOwner: s.owner()}, s.short, few)
	if err == nil {
		return aws.ToString(out.BucketRegion), nil
	}
	var resp *smithyhttp.ResponseError
	if errors.As(err, &resp) && resp.Response != nil {
		if r := resp.Response.Header.Get("X-Amz-Bucket-Region"); r != "" {
			return r, nil
		}
		if resp.HTTPStatusCode() != http.StatusNotFound {
			return "", nil
		}
	}
	err = s.fail("look for the bucket", "", err)
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusNotFound {
		e.Code = "NoSuchBucket" // the answer to HEAD has no room for it
	}
	return "", err
}

func (s *Sink) newClient(region string) *s3.Client {
	return s3.NewFromConfig(s.cfg, func(o *s3.Options) {
		o.Region = region
		if s.opts.Endpoint != "" {
			o.BaseEndpoint = &s.opts.Endpoint
		}
		o.UsePathStyle = s.opts.PathStyle
		// Checksums are computed here: the SDK's CRC64NVME costs 2 s for each GB.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.Retryer = s.retryer(s.opts.Attempts, s.opts.backoff)
		o.APIOptions = append(o.APIOptions, s.guard)
	})
}

// retryer tries again on everything that may pass. The SDK's quota of retries is off: it is
// shared by all hosts, and a bucket that is away for a minute would use it up. Without attempts there is no end but that
// of the context.
func (s *Sink) retryer(attempts int, backoff time.Duration) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff, o.RateLimiter = attempts, backoff, ratelimit.None
		o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(s.retryable)}, o.Retryables...)
	})
}

func (s *Sink) retryable(err error) aws.Ternary {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return aws.UnknownTernary
	}
	switch api.ErrorCode() {
	case "ConditionalRequestConflict": // somebody writes that name just now
		return aws.TrueTernary
	case "BadDigest", "XAmzContentChecksumMismatch", "IncompleteBody": // damaged on the way
		return aws.TrueTernary
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		if c, ok := s.cfg.Credentials.(*aws.CredentialsCache); ok && !aws.IsCredentialsProvider(c, credentials.StaticCredentialsProvider{}) {
			c.Invalidate()
			return aws.TrueTernary
		}
	}
	return aws.UnknownTernary
}

// guard refuses to send to a place without TLS, wherever its address came from.
func (s *Sink) guard(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("shotglassGuard",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			req, ok := in.Request.(*smithyhttp.Request)
			if ok && req.URL.Scheme != "https" && !s.opts.InsecureHTTP && !loopback(req.URL.Hostname()) {
				return middleware.DeserializeOutput{}, middleware.Metadata{}, fmt.Errorf("endpoint %s://%s: without TLS anybody in between can read and forge the evidence", req.URL.Scheme, req.URL.Host)
			}
			return next.HandleDeserialize(ctx, in)
		}), middleware.After)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// unsigned leaves the body out of the signature where TLS protects it: its SHA-256 would
// cost a second for each GB, and the CRC64NVME is signed.
func (s *Sink) unsigned(o *s3.Options) {
	if o.BaseEndpoint != nil && (len(*o.BaseEndpoint) < 6 || (*o.BaseEndpoint)[:6] != "https:") {
		return
	}
	o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
}

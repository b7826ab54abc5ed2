// Package evidencebucket makes a bucket of S3 into one that evidence is safe in, and says what an existing one lacks.
//
//	findings := evidencebucket.Check(ctx, cfg, evidencebucket.Place{Bucket: "evidence", Owner: account})
//
//	m := &evidencebucket.Maker{Config: cfg, Terms: terms}
//	plan, err := m.Plan(ctx)     // reads only
//	err = m.Apply(ctx, plan, tell)
//
// What is checked and what is made are the same properties, each read back from the service. A property that could not be read is
// UNKNOWN, never PASS. Nothing that is set already is ever loosened.
package evidencebucket

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A State is what is known of a property.
type State string

// The states. Only Pass is good.
const (
	Pass         State = "PASS"
	Fail         State = "FAIL"
	Unknown      State = "UNKNOWN"       // it could not be read: permission, network
	NotSupported State = "NOT SUPPORTED" // the server has no such thing: it is not AWS's S3
)

// A Finding is one property of a bucket.
type Finding struct {
	ID    string `json:"id"` // "versioning"
	State State  `json:"state"`
	Have  string `json:"have"`          // what was found, or why it is not known
	Why   string `json:"why"`           // why it matters
	Fix   string `json:"fix,omitempty"` // a command, unless it passes
}

// A Place is a bucket.
type Place struct {
	Bucket string
	// Owner is the account that must own it: S3 refuses every call otherwise. Empty: any.
	Owner string
	// PathStyle names the bucket in the path, as most other servers want.
	PathStyle bool
}

func (p Place) owner() *string {
	if p.Owner == "" {
		return nil
	}
	return &p.Owner
}

func (p Place) client(cfg aws.Config, region string) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = p.PathStyle
		if region != "" {
			o.Region = region
		}
		if o.Region == "" {
			o.Region = "us-east-1" // until the bucket says otherwise
		}
	})
}

// bucketName is what is made: S3's rules without dots, which break TLS for names of hosts.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)

// ValidName says why a bucket of this name is not made.
func ValidName(name string) error {
	switch {
	case strings.Contains(name, "."):
		return fmt.Errorf("%q: a dot in the name of a bucket breaks the certificate of its address", name)
	case !bucketName.MatchString(name):
		return fmt.Errorf("%q: want 3 to 63 small letters, digits and dashes, no dash at the ends", name)
	}
	for _, p := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
		if strings.HasPrefix(name, p) {
			return fmt.Errorf("%q: S3 keeps names that begin with %q for itself", name, p)
		}
	}
	for _, p := range []string{"-s3alias", "--ol-s3", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(name, p) {
			return fmt.Errorf("%q: S3 keeps names that end in %q for itself", name, p)
		}
	}
	return nil
}

// partition is the part of AWS that a region is in, as ARNs name it.
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// status is that of HTTP in an error, 0 if there was no answer.
func status(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// errOthers is how S3 refuses to show a policy to whoever may read it in another account.
var errOthers = errors.New("the policy of a bucket can be read from its own account alone; if this is that account, the server does not know the call, and is not AWS's S3")

// unread says what an error of reading means for a property: it is not known, or the server has no such thing.
func unread(err error) (State, string) {
	if errors.Is(err, errOthers) {
		return Unknown, "could not be read: " + errOthers.Error()
	}
	code := awsconfig.Code(err)
	if n := status(err); n == 501 || n == 405 || code == "NotImplemented" || code == "MethodNotAllowed" || code == "XNotImplemented" {
		return NotSupported, "this server does not know the call: it is not AWS's S3, and what it does instead is not known"
	}
	return Unknown, "could not be read: " + short(err)
}

// short is an error of AWS in a line.
func short(err error) string {
	err = awsconfig.Explain(err)
	if code := awsconfig.Code(err); code != "" {
		text := err.Error()
		if i := strings.LastIndex(text, "api error "); i >= 0 {
			text = text[i+len("api error "):]
		}
		return fmt.Sprintf("%.300q", text)
	}
	return fmt.Sprintf("%.300q", err.Error())
}

// regionIn is the region of a bucket that an error tells: S3 names it even when it refuses.
func regionIn(err error) string {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) && r.Response != nil {
		return r.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return ""
}

package awsfake

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// A Bucket is one of S3, as far as its settings go.
type Bucket struct {
	Name, Region, Account string
	// Settings are what was put, as XML, by the name of the subresource: "versioning", "encryption".
	Settings map[string]string
	Policy   string
	// Objects are what is in it, by key.
	Objects map[string][]byte
	// Open is what the ACL gives to groups: "READ" to "global/AllUsers".
	Open map[string]string
	// Lag is how many reads of a setting do not see yet what was put before them.
	Lag int
	// Unsupported are subresources that this server does not know, as others than AWS's do not.
	Unsupported []string

	old map[string]*lagging
}

type lagging struct {
	value string
	left  int
}

// AddBucket makes a bucket with nothing set.
func (r *Region) AddBucket(name string) *Bucket {
	r.cloud.mu.Lock()
	defer r.cloud.mu.Unlock()
	return r.addBucket(name)
}

func (r *Region) addBucket(name string) *Bucket {
	b := &Bucket{Name: name, Region: r.Name, Account: r.account.ID, Settings: map[string]string{}, old: map[string]*lagging{}}
	// S3's own defaults since 2023.
	b.Settings["encryption"] = `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`
	r.cloud.buckets[name] = b
	return b
}

// Bucket returns a bucket, nil if there is none of that name.
func (c *Cloud) Bucket(name string) *Bucket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buckets[name]
}

// A rest is an answer of S3.
type rest struct {
	status int // 0: 200
	header map[string]string
	body   string
}

func answerS3(w http.ResponseWriter, b *bytes.Buffer, status int, out any, e *Error) int {
	w.Header().Set("Content-Type", "application/xml")
	if e != nil {
		for k, v := range e.Header {
			w.Header().Set(k, v)
		}
		el("Error", []X{el("Code", e.Code), el("Message", e.Message)}).write(b)
		return status
	}
	if r, ok := out.(*rest); ok {
		for k, v := range r.header {
			w.Header().Set(k, v)
		}
		b.WriteString(r.body)
		status = cmp.Or(r.status, status)
	}
	return status
}

// A setting is a subresource of a bucket: its query parameter, its part of the operations' names and of IAM's actions, and the error
// when it is not set; "" answers an empty one.
type setting struct{ query, name, read, write, none, empty string }

var bucketSettings = []setting{
	{"versioning", "BucketVersioning", "BucketVersioning", "BucketVersioning", "", "<VersioningConfiguration/>"},
	{"object-lock", "ObjectLockConfiguration", "BucketObjectLockConfiguration", "BucketObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", ""},
	{"encryption", "BucketEncryption", "EncryptionConfiguration", "EncryptionConfiguration", "ServerSideEncryptionConfigurationNotFoundError", ""},
	{"publicAccessBlock", "PublicAccessBlock", "BucketPublicAccessBlock", "BucketPublicAccessBlock", "NoSuchPublicAccessBlockConfiguration", ""},
	{"ownershipControls", "BucketOwnershipControls", "BucketOwnershipControls", "BucketOwnershipControls", "OwnershipControlsNotFoundError", ""},
	{"lifecycle", "BucketLifecycleConfiguration", "LifecycleConfiguration", "LifecycleConfiguration", "NoSuchLifecycleConfiguration", ""},
	{"logging", "BucketLogging", "BucketLogging", "BucketLogging", "", "<BucketLoggingStatus/>"},
	{"tagging", "BucketTagging", "BucketTagging", "BucketTagging", "NoSuchTagSet", ""},
	{"policy", "BucketPolicy", "BucketPolicy", "BucketPolicy", "NoSuchBucketPolicy", ""},
}

func (c *Cloud) bucketService() *service {
	ops := map[string]operation{
		"HeadBucket":   {action: "s3:ListBucket", on: onBucket, do: (&setting{}).guarded("s3:ListBucket", headBucket)},
		"CreateBucket": {action: "s3:CreateBucket", also: "s3:TagResource", on: onBucket, writes: true, do: createBucket},
	}
	for i := range bucketSettings {
		s := &bucketSettings[i]
		ops["Get"+s.name] = operation{action: "s3:Get" + s.read, on: onBucket, do: s.guarded("s3:Get"+s.read, s.get)}
		ops["Put"+s.name] = operation{action: "s3:Put" + s.write, on: onBucket, writes: true, do: s.guarded("s3:Put"+s.write, s.put)}
	}
	return with(with(&service{prefix: "s3", proto: restXML, ops: ops, route: func(r *Request) string {
		if read := bucketRead(r); read != "" {
			r.Path = map[string]string{"bucket": strings.Trim(r.HTTP.URL.Path, "/")}
			return read
		}
		name, key, _ := strings.Cut(strings.TrimPrefix(r.HTTP.URL.Path, "/"), "/")
		r.Path = map[string]string{"bucket": name}
		if name := objectRead(r, key); name != "" {
			r.Path["key"] = key
			return name
		}
		if key == "" {
			for _, s := range bucketSettings {
				if r.HTTP.URL.Query().Has(s.query) {
					return map[string]string{"GET": "Get", "PUT": "Put"}[r.HTTP.Method] + s.name
				}
			}
			if len(r.HTTP.URL.Query()) == 0 || r.HTTP.URL.Query().Has("x-id") {
				switch r.HTTP.Method {
				case http.MethodHead:
					return "HeadBucket"
				case http.MethodPut:
					return "CreateBucket"
				}
			}
		}
		return r.HTTP.Method + " " + r.HTTP.URL.String()
	}}, bucketReadOps()), objectOps)
}

func onBucket(r *Request) []string {
	return []string{"arn:" + r.Account.partition() + ":s3:::" + r.Path["bucket"]}
}

// guarded has the bucket's place, its owner and its policy decide before an operation does.
func (s *setting) guarded(action string, do func(*Request, *Bucket) (any, error)) func(*Request) (any, error) {
	return func(r *Request) (any, error) {
		b := r.Cloud.buckets[r.Path["bucket"]]
		if b == nil {
			return nil, &Error{Code: "NoSuchBucket", Message: "The specified bucket does not exist", Status: http.StatusNotFound}
		}
		where := map[string]string{"X-Amz-Bucket-Region": b.Region}
		denied := &Error{Code: "AccessDenied", Message: "Access Denied", Status: http.StatusForbidden, Header: where}
		switch owner := r.HTTP.Header.Get("X-Amz-Expected-Bucket-Owner"); {
		case owner != "" && owner != b.Account, r.Account.ID != b.Account && !b.lets(action, r.Principal):
			return nil, denied
		case s.query == "policy" && r.Account.ID != b.Account: // even who may read it
			return nil, &Error{Code: "MethodNotAllowed", Message: "The specified method is not allowed against this resource.", Status: http.StatusMethodNotAllowed, Header: where}
		case r.Region.Name != b.Region:
			return nil, &Error{Code: "PermanentRedirect", Message: "The bucket you are attempting to access must be addressed using the specified endpoint.", Status: http.StatusMovedPermanently, Header: where}
		case slices.Contains(b.Unsupported, s.query) && s.query != "":
			return nil, &Error{Code: "NotImplemented", Message: "A header you provided implies functionality that is not implemented", Status: http.StatusNotImplemented}
		}
		if b.denies(action, r.Principal) {
			denied.Message = "User: " + r.Principal.ARN + " is not authorized to perform: " + action + " on resource: " + onBucket(r)[0] + " with an explicit deny in a resource-based policy"
			return nil, denied
		}
		return do(r, b)
	}
}

func headBucket(_ *Request, b *Bucket) (any, error) {
	return &rest{header: map[string]string{"X-Amz-Bucket-Region": b.Region}}, nil
}

func createBucket(r *Request) (any, error) {
	name := r.Path["bucket"]
	if b := r.Cloud.buckets[name]; b != nil && b.Account != r.Account.ID {
		return nil, &Error{Code: "BucketAlreadyExists", Message: "The requested bucket name is not available.", Status: http.StatusConflict}
	} else if b != nil {
		return nil, &Error{Code: "BucketAlreadyOwnedByYou", Message: "Your previous request to create the named bucket succeeded and you already own it.", Status: http.StatusConflict}
	}
	var in struct {
		LocationConstraint string
		Tags               struct {
			Tag []struct{ Key, Value string }
		}
	}
	if len(r.Body) > 0 {
		if err := xml.Unmarshal(r.Body, &in); err != nil {
			return nil, fail("MalformedXML", "%v", err)
		}
	}
	if in.LocationConstraint == "" && r.Region.Name != "us-east-1" || in.LocationConstraint != "" && in.LocationConstraint != r.Region.Name {
		return nil, fail("IllegalLocationConstraintException", "The %q location constraint is incompatible for the region specific endpoint this request was sent to.", in.LocationConstraint)
	}
	b := r.Region.addBucket(name)
	if o := r.HTTP.Header.Get("X-Amz-Object-Ownership"); o != "" {
		b.Settings["ownershipControls"] = "<OwnershipControls><Rule><ObjectOwnership>" + o + "</ObjectOwnership></Rule></OwnershipControls>"
	}
	if r.HTTP.Header.Get("X-Amz-Bucket-Object-Lock-Enabled") == "true" {
		b.Settings["versioning"] = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
		b.Settings["object-lock"] = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
	}
	if len(in.Tags.Tag) > 0 {
		set := X{Name: "TagSet"}
		for _, t := range in.Tags.Tag {
			set.Kids = append(set.Kids, el("Tag", []X{el("Key", t.Key), el("Value", t.Value)}))
		}
		var doc bytes.Buffer
		el("Tagging", set).write(&doc)
		b.Settings["tagging"] = doc.String()
	}
	return &rest{header: map[string]string{"Location": "/" + name}}, nil
}

func (s *setting) get(_ *Request, b *Bucket) (any, error) {
	v := b.Settings[s.query]
	if s.query == "policy" {
		v = b.Policy
	}
	if o := b.old[s.query]; o != nil && o.left > 0 {
		o.left--
		v = o.value
	}
	switch {
	case v != "":
		return &rest{body: v}, nil
	case s.none == "":
		return &rest{body: s.empty}, nil
	}
	return nil, &Error{Code: s.none, Message: "The configuration does not exist", Status: http.StatusNotFound}
}

var statusOf = regexp.MustCompile(`<Status>(\w+)</Status>`)

func (s *setting) put(r *Request, b *Bucket) (any, error) {
	v := &b.Policy
	before := b.Policy
	switch s.query {
	case "policy":
		if err := b.acceptsPolicy(r); err != nil {
			return nil, err
		}
	case "versioning":
		if m := statusOf.FindSubmatch(r.Body); b.Settings["object-lock"] != "" && m != nil && string(m[1]) != "Enabled" {
			return nil, &Error{Code: "InvalidBucketState", Message: "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.", Status: http.StatusConflict}
		}
	case "object-lock":
		if !strings.Contains(b.Settings["versioning"], "Enabled") {
			return nil, &Error{Code: "InvalidBucketState", Message: "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration", Status: http.StatusConflict}
		}
	case "logging":
		if err := r.logsTo(b); err != nil {
			return nil, err
		}
	}
	text := string(r.Body)
	if s.query != "policy" {
		before = b.Settings[s.query]
		b.Settings[s.query] = text
	} else {
		*v = text
	}
	if b.Lag > 0 {
		b.old[s.query] = &lagging{before, b.Lag}
	}
	return &rest{}, nil
}

// logsTo refuses a bucket for logs that is not in the same account and region.
func (r *Request) logsTo(b *Bucket) error {
	var in struct {
		LoggingEnabled struct{ TargetBucket string }
	}
	if err := xml.Unmarshal(r.Body, &in); err != nil {
		return fail("MalformedXML", "%v", err)
	}
	if to := r.Cloud.buckets[in.LoggingEnabled.TargetBucket]; to == nil || to.Account != b.Account || to.Region != b.Region {
		return fail("InvalidTargetBucketForLogging", "The owner for the bucket to be logged and the target bucket must be the same.")
	}
	return nil
}

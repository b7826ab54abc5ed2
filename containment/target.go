package containment

import (
	"fmt"
	"regexp"
	"strings"
)

// A Kind is what a target is.
type Kind string

const (
	Instance  Kind = "instance"   // an EC2 instance
	User      Kind = "user"       // an IAM user
	Role      Kind = "role"       // an IAM role
	Function  Kind = "function"   // a Lambda function
	AccessKey Kind = "access-key" // a long-term access key (AKIA)
)

// A Target is one thing to contain. Account may be empty: the caller's own. Region is empty for
// IAM, which has none, and otherwise may be empty for the default.
type Target struct {
	Kind      Kind   `json:"kind"`
	Partition string `json:"partition,omitempty"` // "aws", "aws-cn", "aws-us-gov"; empty: of the region
	Region    string `json:"region,omitempty"`
	Account   string `json:"account,omitempty"`
	// Path is that of a user or a role, with both slashes: "/service/". It is "/" for none, and empty
	// if it is not known, as in short forms.
	Path string `json:"path,omitempty"`
	// Name is the instance id, the name of the user, role or function, or the access key's id.
	Name string `json:"name"`
}

// String returns the ARN as far as it is known, or the short form.
func (t Target) String() string {
	if t.Account == "" || t.Kind == AccessKey {
		return t.Short()
	}
	return t.ARN()
}

// Short returns a form that ParseTarget reads: "i-0abc", "role/name", "function/name".
func (t Target) Short() string {
	switch t.Kind {
	case Instance, AccessKey:
		return t.Name
	}
	return string(t.Kind) + "/" + t.Name
}

// ARN returns the target's ARN. Access keys have none; theirs is the short form.
// An unknown partition is that of the region, an unknown path none.
func (t Target) ARN() string {
	part := t.Partition
	if part == "" {
		part = PartitionOf(t.Region)
	}
	path := t.Path
	if path == "" {
		path = "/"
	}
	switch t.Kind {
	case Instance:
		return fmt.Sprintf("arn:%s:ec2:%s:%s:instance/%s", part, t.Region, t.Account, t.Name)
	case User, Role:
		return fmt.Sprintf("arn:%s:iam::%s:%s%s%s", part, t.Account, t.Kind, path, t.Name)
	case Function:
		return fmt.Sprintf("arn:%s:lambda:%s:%s:function:%s", part, t.Region, t.Account, t.Name)
	}
	return t.Short()
}

// PartitionOf returns the partition of a region by its name, as AWS names them.
func PartitionOf(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.HasPrefix(region, "us-iso-"):
		return "aws-iso"
	case strings.HasPrefix(region, "us-isob-"):
		return "aws-iso-b"
	case strings.HasPrefix(region, "us-isof-"):
		return "aws-iso-f"
	case strings.HasPrefix(region, "eu-isoe-"):
		return "aws-iso-e"
	case strings.HasPrefix(region, "eusc-"):
		return "aws-eusc"
	}
	return "aws"
}

// What names may be: the EC2 and IAM API references, and Lambda's CreateFunction.
var (
	partitions   = regexp.MustCompile(`^aws(-[a-z]+)*$`)
	regions      = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]+$`)
	accounts     = regexp.MustCompile(`^[0-9]{12}$`)
	instanceIDs  = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)
	iamPaths     = regexp.MustCompile(`^/([\x21-\x2e\x30-\x7e]+/)*$`)
	iamNames     = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{1,64}$`)
	functionName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	keyIDs       = regexp.MustCompile(`^(AKIA|ASIA)[A-Z2-7]{12,124}$`)
)

// ParseTarget reads an ARN or a short form:
//
//	arn:aws:ec2:eu-west-1:111122223333:instance/i-0123456789abcdef0    i-0123456789abcdef0
//	arn:aws:iam::111122223333:user/team/alice                          user/alice
//	arn:aws:iam::111122223333:role/service/web                         role/web
//	arn:aws:lambda:eu-west-1:111122223333:function:thumbs              function/thumbs
//	AKIAIOSFODNN7EXAMPLE
//
// An ARN of another kind, and what is malformed, is an error that says what was expected.
func ParseTarget(s string) (Target, error) {
	if strings.HasPrefix(s, "arn:") {
		return parseARN(s)
	}
	switch {
	case strings.HasPrefix(s, "i-"):
		if !instanceIDs.MatchString(s) {
			return Target{}, fmt.Errorf("%q is no instance id: expected i- and 17 (or, of old, 8) hexadecimal digits", s)
		}
		return Target{Kind: Instance, Name: s}, nil
	case strings.HasPrefix(s, "AKIA"), strings.HasPrefix(s, "ASIA"):
		if !keyIDs.MatchString(s) {
			return Target{}, fmt.Errorf("%q is no access key id: expected AKIA and 16 letters and digits", s)
		}
		return Target{Kind: AccessKey, Name: s}, nil
	}
	kind, name, ok := strings.Cut(s, "/")
	if ok {
		switch Kind(kind) {
		case User, Role:
			return named(Target{Kind: Kind(kind)}, s, name)
		case Function:
			if !functionName.MatchString(name) {
				return Target{}, fmt.Errorf("%q: %q is no name of a Lambda function", s, name)
			}
			return Target{Kind: Function, Name: name}, nil
		}
	}
	return Target{}, fmt.Errorf("%q is no target: expected an ARN, i-..., user/NAME, role/NAME, function/NAME or AKIA...", s)
}

func parseARN(s string) (Target, error) {
	f := strings.SplitN(s, ":", 6)
	if len(f) != 6 {
		return Target{}, fmt.Errorf("%q is no ARN: expected arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE", s)
	}
	t := Target{Partition: f[1], Region: f[3], Account: f[4]}
	if !partitions.MatchString(t.Partition) {
		return Target{}, fmt.Errorf("%q: %q is no partition, such as aws, aws-cn or aws-us-gov", s, t.Partition)
	}
	if !accounts.MatchString(t.Account) {
		return Target{}, fmt.Errorf("%q: %q is no account id of 12 digits", s, t.Account)
	}
	service, resource := f[2], f[5]
	if service == "iam" {
		if t.Region != "" {
			return Target{}, fmt.Errorf("%q: IAM ARNs have no region", s)
		}
		kind, name, _ := strings.Cut(resource, "/")
		switch Kind(kind) {
		case User, Role:
			t.Kind = Kind(kind)
			return named(t, s, name)
		}
		if resource == "root" {
			return Target{}, fmt.Errorf("%q is the root user, which no policy of its account binds: "+
				"use a service control policy of the organisation, or central root access: %w", s, ErrRefused)
		}
		return Target{}, fmt.Errorf("%q: IAM users and roles can be contained, %q cannot", s, kind)
	}
	if service == "sts" {
		return Target{}, fmt.Errorf("%q is a session: contain its role (arn:%s:iam::%s:role/...), which has all its sessions", s, t.Partition, t.Account)
	}
	if !regions.MatchString(t.Region) {
		return Target{}, fmt.Errorf("%q: %q is no region", s, t.Region)
	}
	if got := PartitionOf(t.Region); got != t.Partition {
		return Target{}, fmt.Errorf("%q: the region %s is in the partition %s, not %s", s, t.Region, got, t.Partition)
	}
	switch service {
	case "ec2":
		id, ok := strings.CutPrefix(resource, "instance/")
		if !ok || !instanceIDs.MatchString(id) {
			return Target{}, fmt.Errorf("%q: of EC2 instances can be contained: expected instance/i-...", s)
		}
		t.Kind, t.Name = Instance, id
		return t, nil
	case "lambda":
		name, ok := strings.CutPrefix(resource, "function:")
		name, qualifier, qualified := strings.Cut(name, ":")
		if qualified {
			return Target{}, fmt.Errorf("%q: leave out %q: a function is contained with all its versions and aliases", s, ":"+qualifier)
		}
		if !ok || !functionName.MatchString(name) {
			return Target{}, fmt.Errorf("%q: of Lambda functions can be contained: expected function:NAME", s)
		}
		t.Kind, t.Name = Function, name
		return t, nil
	}
	return Target{}, fmt.Errorf("%q: nothing of the service %q can be contained: expected an EC2 instance, an IAM user or role, or a Lambda function", s, service)
}

// named splits the path from the name of a user or role.
func named(t Target, s, name string) (Target, error) {
	i := strings.LastIndexByte(name, '/')
	if i >= 0 {
		t.Path, name = "/"+name[:i+1], name[i+1:]
	} else if t.Account != "" {
		t.Path = "/"
	}
	if !iamNames.MatchString(name) {
		return Target{}, fmt.Errorf("%q: %q is no name of an IAM %s", s, name, t.Kind)
	}
	if t.Path != "" && (len(t.Path) > 512 || !iamPaths.MatchString(t.Path)) {
		return Target{}, fmt.Errorf("%q: %q is no IAM path", s, t.Path)
	}
	t.Name = name
	return t, nil
}

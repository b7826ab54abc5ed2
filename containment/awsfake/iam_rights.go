package awsfake

import (
	"maps"
	"slices"
)

// A UserGroup is an IAM group. Who is in it, its users know.
type UserGroup struct {
	Policies map[string]string // inline: documents, by name
	Attached []string          // managed policies: ARNs
}

// awsManaged are some policies that every account has.
var awsManaged = map[string]string{
	"AdministratorAccess": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
	"AWSDenyAll":          `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["*"],"Resource":"*"}]}`,
	"ReadOnlyAccess":      `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ec2:Describe*","iam:Get*","iam:List*","s3:Get*","s3:List*"],"Resource":"*"}]}`,
}

// managed is the document of a managed policy by ARN.
func (r *Request) managed() (string, bool) {
	arn := r.Form.Get("PolicyArn")
	if d, ok := r.Account.identities().Managed[arn]; ok {
		return d, true
	}
	for name, d := range awsManaged {
		if arn == "arn:"+r.Account.partition()+":iam::aws:policy/"+name {
			return d, true
		}
	}
	return "", false
}

// rightsOps read what policies say.
var rightsOps = map[string]operation{
	"GetPolicy": {on: onPolicy, do: func(r *Request) (any, error) {
		if _, ok := r.managed(); !ok {
			return nil, noSuchEntity("Policy " + r.Form.Get("PolicyArn") + " was not found.")
		}
		return []X{el("Policy", []X{el("Arn", r.Form.Get("PolicyArn")), el("DefaultVersionId", "v3")})}, nil
	}},
	"GetPolicyVersion": {on: onPolicy, do: func(r *Request) (any, error) {
		document, ok := r.managed()
		if !ok || r.Form.Get("VersionId") != "v3" {
			return nil, noSuchEntity("Policy " + r.Form.Get("PolicyArn") + " version " + r.Form.Get("VersionId") + " does not exist.")
		}
		return []X{el("PolicyVersion", []X{el("VersionId", "v3"), el("IsDefaultVersion", true), el("Document", encoded(document))})}, nil
	}},
	"ListGroupPolicies": ofGroup(func(r *Request, g *UserGroup) (any, error) {
		return paged(r, "PolicyNames", each(slices.Sorted(maps.Keys(g.Policies)), func(n string) []X { return []X{{Text: n}} })), nil
	}),
	"GetGroupPolicy": ofGroup(func(r *Request, g *UserGroup) (any, error) {
		name := r.Form.Get("PolicyName")
		document, ok := g.Policies[name]
		if !ok {
			return nil, noSuchEntity("The group policy with name " + name + " cannot be found.")
		}
		return []X{el("GroupName", r.Form.Get("GroupName")), el("PolicyName", name), el("PolicyDocument", encoded(document))}, nil
	}),
	"ListAttachedGroupPolicies": ofGroup(func(r *Request, g *UserGroup) (any, error) {
		return (&Entity{Attached: g.Attached}).listAttached(r), nil
	}),
}

func onPolicy(r *Request) []string { return []string{r.Form.Get("PolicyArn")} }

func ofGroup(do func(*Request, *UserGroup) (any, error)) operation {
	return operation{
		on: func(r *Request) []string {
			return []string{"arn:" + r.Account.partition() + ":iam::" + r.Account.ID + ":group/" + r.Form.Get("GroupName")}
		},
		do: func(r *Request) (any, error) {
			g := r.Account.identities().Groups[r.Form.Get("GroupName")]
			if g == nil {
				return nil, noSuchEntity("The group with name " + r.Form.Get("GroupName") + " cannot be found.")
			}
			return do(r, g)
		},
	}
}

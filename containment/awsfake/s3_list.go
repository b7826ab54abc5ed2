package awsfake

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// bucketReads are S3's reads beside those of settings.
var bucketReads = []struct{ query, name, action string }{
	{"policyStatus", "GetBucketPolicyStatus", "s3:GetBucketPolicyStatus"},
	{"acl", "GetBucketAcl", "s3:GetBucketAcl"},
}

// bucketReadOps are their operations, and the list of all buckets.
func bucketReadOps() map[string]operation {
	do := map[string]func(*Request, *Bucket) (any, error){"policyStatus": policyStatus, "acl": bucketACL}
	ops := map[string]operation{"ListBuckets": {action: "s3:ListAllMyBuckets", do: listBuckets}}
	for _, b := range bucketReads {
		ops[b.name] = operation{action: b.action, on: onBucket, do: (&setting{}).guarded(b.action, do[b.query])}
	}
	return ops
}

// bucketRead is the operation among these that a request is for; empty: none.
func bucketRead(r *Request) string {
	if r.HTTP.Method != "GET" {
		return ""
	}
	if r.HTTP.URL.Path == "/" {
		return "ListBuckets"
	}
	for _, b := range bucketReads {
		if r.HTTP.URL.Query().Has(b.query) {
			return b.name
		}
	}
	return ""
}

func xmlOf(x X) *rest {
	var b bytes.Buffer
	x.write(&b)
	return &rest{body: b.String()}
}

// listBuckets tells regions only over pages, as S3 does.
func listBuckets(r *Request) (any, error) {
	q := r.HTTP.URL.Query()
	var names []string
	for _, n := range sorted(r.Cloud.buckets) {
		if r.Cloud.buckets[n].Account == r.Account.ID {
			names = append(names, n)
		}
	}
	from, _ := strconv.Atoi(q.Get("continuation-token"))
	names = names[min(from, len(names)):]
	x := X{Name: "ListAllMyBucketsResult"}
	size, _ := strconv.Atoi(q.Get("max-buckets"))
	if n := r.Cloud.PageSize; n > 0 && (size == 0 || n < size) && q.Has("max-buckets") {
		size = n
	}
	if size > 0 && size < len(names) {
		names = names[:size]
		x.Kids = append(x.Kids, el("ContinuationToken", from+size))
	}
	list := X{Name: "Buckets", Kids: []X{}}
	for _, n := range names {
		one := []X{el("Name", n), el("CreationDate", stamp(Start))}
		if q.Has("max-buckets") {
			one = append(one, el("BucketRegion", r.Cloud.buckets[n].Region))
		}
		list.Kids = append(list.Kids, el("Bucket", one))
	}
	x.Kids = append(x.Kids, list)
	return xmlOf(x), nil
}

// policyStatus says whether a policy lets everybody in: an Allow of everybody without a condition.
func policyStatus(_ *Request, b *Bucket) (any, error) {
	if b.Policy == "" {
		return nil, &Error{Code: "NoSuchBucketPolicy", Message: "The bucket policy does not exist", Status: 404}
	}
	list, err := bucketPolicy(b.Policy)
	if err != nil {
		return nil, err
	}
	public := false
	for _, s := range list {
		everybody, _ := json.Marshal(s.Principal) //nolint:errcheck // it was JSON
		if who := string(everybody); s.Effect == "Allow" && len(s.Condition) == 0 && (who == `"*"` || who == `{"AWS":"*"}`) {
			public = true
		}
	}
	return xmlOf(el("PolicyStatus", []X{el("IsPublic", public)})), nil
}

// bucketACL gives the owner everything, and the groups of Bucket.Open what it says.
func bucketACL(_ *Request, b *Bucket) (any, error) {
	grant := func(kind string, who X, permission string) X {
		return el("Grant", []X{{Name: `Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="` + kind + `"`, Kids: []X{who}}, el("Permission", permission)})
	}
	list := X{Name: "AccessControlList", Kids: []X{grant("CanonicalUser", el("ID", b.Account), "FULL_CONTROL")}}
	for _, group := range sorted(b.Open) {
		list.Kids = append(list.Kids, grant("Group", el("URI", "http://acs.amazonaws.com/groups/"+group), b.Open[group]))
	}
	return xmlOf(el("AccessControlPolicy", []X{el("Owner", []X{el("ID", b.Account)}), list})), nil
}

package awsfake

import (
	"slices"
	"strings"
)

// defaultKeyPolicy is what AWS gives a new key: the account's own policies say who uses it.
func defaultKeyPolicy(partition, account string) string {
	return `{"Version":"2012-10-17","Id":"key-default-1","Statement":[{"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"arn:` +
		partition + `:iam::` + account + `:root"},"Action":"kms:*","Resource":"*"}]}`
}

// getKeyPolicy knows a key's one policy, which no other account gets to see.
func getKeyPolicy(r *Request) (any, error) {
	id := r.text("KeyId")
	k := r.Region.key(id)
	switch {
	case field(id, 4) != "" && field(id, 4) != r.Account.ID:
		return nil, r.keyDenied()
	case k == nil:
		return nil, noKey(id)
	}
	policy := k.Policy
	if policy == "" {
		policy = defaultKeyPolicy(r.Account.partition(), r.Account.ID)
	}
	return map[string]any{"Policy": policy, "PolicyName": "default"}, nil
}

func (r *Request) keyDenied() error {
	return &Error{Code: "AccessDeniedException", Message: "User: " + r.Principal.ARN + " is not authorized to perform: kms:" + r.Action +
		" on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"}
}

// foreignKey is the key of another account that a request names by its ARN, if the key's policy lets the caller's account do what is asked.
func (r *Request) foreignKey() (*Key, error) {
	id := r.text("KeyId")
	account := r.Cloud.accounts[field(id, 4)]
	switch {
	case field(id, 4) == "" || account == r.Account:
		return nil, noKey(id)
	case account == nil || account.regions[r.Region.Name] == nil:
		return nil, r.keyDenied()
	}
	k := account.regions[r.Region.Name].key(id)
	if k == nil {
		return nil, r.keyDenied()
	}
	list, err := bucketPolicy(k.Policy)
	if err != nil || !slices.ContainsFunc(list, func(s bucketStatement) bool {
		return s.Effect == "Allow" && s.names(r.Account.ID) && slices.ContainsFunc(s.Action, func(a string) bool { return like(strings.ToLower(a), strings.ToLower("kms:"+r.Action)) })
	}) {
		return nil, r.keyDenied()
	}
	return k, nil
}

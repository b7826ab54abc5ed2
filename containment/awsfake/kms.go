package awsfake

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// A Key is one of KMS.
type Key struct {
	ID, ARN, State, Manager, Policy, Description string
	Spec                                         string // empty: SYMMETRIC_DEFAULT
	Aliases                                      []string
	Tags                                         map[string]string
}

// AddKey makes a key of the user's, with an alias if that is not empty.
func (r *Region) AddKey(alias string) *Key {
	r.cloud.mu.Lock()
	defer r.cloud.mu.Unlock()
	k := r.addKey()
	if alias != "" {
		k.Aliases = []string{alias}
	}
	return k
}

func (r *Region) addKey() *Key {
	id := r.cloud.id("key-", 12)
	k := &Key{ID: id, ARN: "arn:" + r.account.partition() + ":kms:" + r.Name + ":" + r.account.ID + ":key/" + id, State: "Enabled", Manager: "CUSTOMER", Tags: map[string]string{}}
	r.Keys = append(r.Keys, k)
	return k
}

func (r *Region) key(id string) *Key {
	for _, k := range r.Keys {
		if id == k.ID || id == k.ARN || slices.Contains(k.Aliases, id) {
			return k
		}
	}
	if id == DefaultKey || strings.HasSuffix(id, ":key/aws/ebs") { // as keyARN has it
		return &Key{ID: "aws/ebs", ARN: "arn:" + r.account.partition() + ":kms:" + r.Name + ":" + r.account.ID + ":key/aws/ebs", State: "Enabled", Manager: "AWS"}
	}
	if k, ok := r.Posture.Keys[id]; ok {
		return &Key{ID: id, ARN: id, State: cmp.Or(k.State, "Enabled"), Manager: k.Manager, Policy: k.Policy}
	}
	return nil
}

func (c *Cloud) kmsService() *service {
	on := func(r *Request) []string {
		if k := r.Region.key(r.text("KeyId") + r.text("TargetKeyId")); k != nil {
			return []string{k.ARN}
		}
		if id := r.text("KeyId"); strings.HasPrefix(id, "arn:") {
			return []string{id}
		}
		return []string{"arn:" + r.Account.partition() + ":kms:" + r.Region.Name + ":" + r.Account.ID + ":key/unknown"}
	}
	return &service{prefix: "kms", proto: targetJSON, ops: map[string]operation{
		"DescribeKey":      {do: describeKey, on: on},
		"GetKeyPolicy":     {do: getKeyPolicy, on: on},
		"ListKeys":         {do: listKeys},
		"ListResourceTags": {do: keyTags, on: on},
		"CreateKey":        {do: createKey, writes: true, also: "kms:TagResource"},
		"CreateAlias": {do: createAlias, writes: true, on: func(r *Request) []string {
			return append(on(r), "arn:"+r.Account.partition()+":kms:"+r.Region.Name+":"+r.Account.ID+":"+r.text("AliasName"))
		}},
	}}
}

func (r *Request) text(name string) string {
	s, _ := r.body()[name].(string)
	return s
}

func noKey(id string) error { return fail("NotFoundException", "Key '%s' does not exist", id) }

func (k *Key) metadata() map[string]any {
	return map[string]any{"KeyMetadata": map[string]any{"KeyId": k.ID, "Arn": k.ARN, "KeyState": k.State, "KeyManager": k.Manager, "Enabled": k.State == "Enabled", "KeySpec": cmp.Or(k.Spec, "SYMMETRIC_DEFAULT"), "KeyUsage": "ENCRYPT_DECRYPT"}}
}

func describeKey(r *Request) (any, error) {
	k := r.Region.key(r.text("KeyId"))
	if k == nil {
		var err error
		if k, err = r.foreignKey(); err != nil {
			return nil, err
		}
	}
	return k.metadata(), nil
}

func listKeys(r *Request) (any, error) {
	from := 0
	if m := r.text("Marker"); m != "" {
		from = slices.IndexFunc(r.Region.Keys, func(k *Key) bool { return k.ID == m })
	}
	to := len(r.Region.Keys)
	if n := r.Cloud.PageSize; n > 0 {
		to = min(to, from+n)
	}
	list := []any{}
	for _, k := range r.Region.Keys[from:to] {
		list = append(list, map[string]string{"KeyId": k.ID, "KeyArn": k.ARN})
	}
	out := map[string]any{"Keys": list, "Truncated": to < len(r.Region.Keys)}
	if to < len(r.Region.Keys) {
		out["NextMarker"] = r.Region.Keys[to].ID
	}
	return out, nil
}

func keyTags(r *Request) (any, error) {
	k := r.Region.key(r.text("KeyId"))
	if k == nil {
		return nil, noKey(r.text("KeyId"))
	}
	tags := []any{}
	for key, v := range k.Tags {
		tags = append(tags, map[string]string{"TagKey": key, "TagValue": v})
	}
	return map[string]any{"Tags": tags, "Truncated": false}, nil
}

func createKey(r *Request) (any, error) {
	var in struct {
		Policy, Description            string
		BypassPolicyLockoutSafetyCheck bool
		Tags                           []struct{ TagKey, TagValue string }
	}
	if err := json.Unmarshal(r.Body, &in); err != nil {
		return nil, fail("ValidationException", "%v", err)
	}
	list, err := bucketPolicy(in.Policy)
	if in.Policy != "" && err != nil {
		return nil, fail("MalformedPolicyDocumentException", "%v", err)
	}
	who := r.Principal.ARN
	if r.Principal.Issuer != "" {
		who = r.Principal.Issuer
	}
	for _, s := range list {
		if s.Effect == "Deny" && slices.Contains(s.Action, "kms:PutKeyPolicy") && s.applies(who) && !strings.HasSuffix(who, ":root") && !in.BypassPolicyLockoutSafetyCheck {
			return nil, fail("MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future.")
		}
	}
	k := r.Region.addKey()
	k.Policy, k.Description = in.Policy, in.Description
	for _, t := range in.Tags {
		k.Tags[t.TagKey] = t.TagValue
	}
	return k.metadata(), nil
}

func createAlias(r *Request) (any, error) {
	name := r.text("AliasName")
	if r.Region.key(name) != nil {
		return nil, fail("AlreadyExistsException", "An alias with the name %s already exists", name)
	}
	k := r.Region.key(r.text("TargetKeyId"))
	if k == nil {
		return nil, noKey(r.text("TargetKeyId"))
	}
	k.Aliases = append(k.Aliases, name)
	return map[string]any{}, nil
}

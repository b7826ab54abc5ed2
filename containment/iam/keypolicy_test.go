package iam_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/containment/iam"
)

const forensic = "444455556666"

func keyUse() iam.KeyUse {
	return iam.KeyUse{Key: "arn:aws:kms:eu-west-1:" + home + ":key/1", Account: forensic, Actions: []string{"kms:CreateGrant", "kms:Decrypt", "kms:ReEncryptFrom"}}
}

// keyPolicy is what AWS gives a new key, and other statements.
func keyPolicy(statements ...string) string {
	own := `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + home + `:root"},"Action":"kms:*","Resource":"*"}`
	return `{"Version":"2012-10-17","Id":"key","Statement":[` + strings.Join(append([]string{own}, statements...), ",") + `]}`
}

// What a key's policy lets another account do, through EC2.
func TestKeyUse(t *testing.T) {
	const (
		root = `"arn:aws:iam::444455556666:root"`
		role = `"arn:aws:iam::444455556666:role/forensic"`
		all  = `["kms:CreateGrant","kms:Decrypt","kms:ReEncrypt*"]`
	)
	allow := func(principal, actions, condition string) string {
		if condition != "" {
			condition = `,"Condition":{` + condition + `}`
		}
		return `{"Effect":"Allow","Principal":{"AWS":` + principal + `},"Action":` + actions + `,"Resource":"*"` + condition + `}`
	}
	deny := func(principal, actions, condition string) string {
		return strings.Replace(allow(principal, actions, condition), "Allow", "Deny", 1)
	}
	const every = "[kms:CreateGrant kms:Decrypt kms:ReEncryptFrom]"
	for _, tt := range []struct {
		name, policy         string
		denied, open, allows string
	}{
		{"its own account alone", keyPolicy(), every, "[]", ""},
		{"the account", keyPolicy(allow(root, all, "")), "[]", "[]", ""},
		{"by its number, in a list", keyPolicy(allow(`["999900001111","444455556666"]`, `"kms:*"`, "")), "[]", "[]", ""},
		{"in capitals", keyPolicy(allow(root, `"KMS:*"`, "")), "[]", "[]", ""},
		{"one statement, not in a list", `{"Statement":` + allow(root, `"kms:*"`, "") + `}`, "[]", "[]", ""},
		{"everybody", keyPolicy(strings.Replace(allow(root, all, ""), `{"AWS":`+root+`}`, `"*"`, 1)), "[]", "[]", ""},
		{"another account", keyPolicy(allow(`"999900001111"`, all, "")), every, "[]", ""},
		{"a service", keyPolicy(strings.Replace(allow(root, all, ""), `"AWS":`+root, `"Service":"444455556666"`, 1)), every, "[]", ""},
		{"not all actions", keyPolicy(allow(root, `["kms:Decrypt","kms:ReEncryptTo"]`, "")), "[kms:CreateGrant kms:ReEncryptFrom]", "[]", ""},
		{"all but some", keyPolicy(strings.Replace(allow(root, `"kms:Dec*"`, ""), `"Action"`, `"NotAction"`, 1)), "[kms:Decrypt]", "[]", ""},
		{"over two statements", keyPolicy(allow(root, `["kms:Decrypt","kms:ReEncrypt*"]`, ""), allow(root, `"kms:CreateGrant"`, `"Bool":{"kms:GrantIsForAWSResource":"true"}`)), "[]", "[]", ""},
		{"as a resource of AWS alone", keyPolicy(allow(root, all, `"Bool":{"kms:GrantIsForAWSResource":true}`)), "[kms:Decrypt kms:ReEncryptFrom]", "[]", ""},
		{"if it is of one, at most", keyPolicy(allow(root, all, `"BoolIfExists":{"kms:GrantIsForAWSResource":"true"}`)), "[]", "[]", ""},
		{"another key", keyPolicy(strings.Replace(allow(root, all, ""), `"Resource":"*"`, `"Resource":"arn:aws:kms:eu-west-1:1:key/2"`, 1)), every, "[]", ""},
		{"through EC2", keyPolicy(allow(`"*"`, all, `"StringEquals":{"kms:CallerAccount":"444455556666","kms:ViaService":"ec2.eu-west-1.amazonaws.com"}`)), "[]", "[]", ""},
		{"through another service", keyPolicy(allow(`"*"`, all, `"StringLike":{"kms:ViaService":"s3.*"}`)), every, "[]", ""},
		{"for an organisation", keyPolicy(allow(`"*"`, all, `"StringEquals":{"aws:PrincipalOrgID":"o-1"}`)), "[]", every, ""},
		{"for an organisation, but another account", keyPolicy(allow(`"*"`, all, `"StringEquals":{"aws:PrincipalOrgID":"o-1","kms:CallerAccount":"1"}`)), every, "[]", ""},
		{"an operator that nobody knows", keyPolicy(allow(root, all, `"StringAlmost":{"kms:CallerAccount":"1"}`)), "[]", every, ""},
		{"one role", keyPolicy(allow(role, all, "")), "[]", "[]", "role/forensic"},
		{"one role, that lacks something", keyPolicy(allow(role, `"kms:Decrypt"`, ""), allow(root, `"kms:CreateGrant"`, "")), "[kms:ReEncryptFrom]", "[]", "role/forensic"},
		{"a role, and the account", keyPolicy(allow(role, all, ""), allow(root, all, "")), "[]", "[]", ""},
		{"denied", keyPolicy(allow(root, all, ""), deny(`"*"`, `"kms:CreateGrant"`, "")), "[kms:CreateGrant]", "[]", ""},
		{"denied to the account, allowed to a role", keyPolicy(allow(role, all, ""), deny(root, `"kms:*"`, "")), every, "[]", ""},
		{"denied to a role alone", keyPolicy(allow(root, all, ""), deny(role, `"kms:*"`, "")), "[]", "[]", ""},
		{"denied to all but one role", keyPolicy(allow(root, all, ""), strings.Replace(deny(`[`+root+`,`+role+`]`, `"kms:*"`, ""), "Principal", "NotPrincipal", 1)), "[]", "[]", "role/forensic"},
		{"denied to all but one role, whose account is named by its number", keyPolicy(allow(root, all, ""), strings.Replace(deny(`["444455556666",`+role+`]`, `"kms:*"`, ""), "Principal", "NotPrincipal", 1)), "[]", "[]", "role/forensic"},
		{"denied to all but one role, whose account is not named", keyPolicy(allow(root, all, ""), strings.Replace(deny(role, `"kms:*"`, ""), "Principal", "NotPrincipal", 1)), every, "[]", ""},
		{"allowed to all but one account", keyPolicy(strings.Replace(allow(root, all, ""), "Principal", "NotPrincipal", 1)), every, "[]", ""},
		{"allowed to all but another account", keyPolicy(strings.Replace(allow(`"999900001111"`, all, ""), "Principal", "NotPrincipal", 1)), "[]", "[]", ""},
		{"denied to all but another", keyPolicy(allow(root, all, ""), strings.Replace(deny(`"999900001111"`, `"kms:*"`, ""), "Principal", "NotPrincipal", 1)), every, "[]", ""},
		{"denied to other accounts", keyPolicy(allow(`"*"`, all, ""), deny(`"*"`, `"kms:*"`, `"StringNotEquals":{"kms:CallerAccount":"`+home+`"}`)), every, "[]", ""},
		{"denied to others than this", keyPolicy(allow(`"*"`, all, ""), deny(`"*"`, `"kms:*"`, `"StringNotLike":{"aws:PrincipalAccount":["4444*"]}`)), "[]", "[]", ""},
		{"denied to other organisations", keyPolicy(allow(root, all, ""), deny(`"*"`, `"kms:*"`, `"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}`)), "[]", every, ""},
		{"denied without a service", keyPolicy(allow(root, all, ""), deny(`"*"`, `"kms:*"`, `"Null":{"kms:ViaService":"true"}`)), "[]", "[]", ""},
		{"denied if not for a resource of AWS", keyPolicy(allow(root, all, ""), deny(`"*"`, `"kms:CreateGrant"`, `"Bool":{"kms:GrantIsForAWSResource":"false"}`)), "[]", "[]", ""},
		{"without TLS", keyPolicy(allow(root, all, ""), deny(`"*"`, `"kms:*"`, `"Bool":{"aws:SecureTransport":"false"}`)), "[]", "[]", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, by, err := keyUse().Judge([]byte(tt.policy))
			var open []string
			for _, d := range a.Open {
				open = append(open, d.Action)
				if !strings.HasPrefix(d.Why, "it depends on ") {
					t.Errorf("%+v", d)
				}
			}
			if err != nil || fmt.Sprint(a.Denied) != tt.denied || fmt.Sprint(open) != tt.open || !strings.HasSuffix(by, tt.allows) || tt.allows == "" && by != "" {
				t.Errorf("denied %v, open %v, by %q, %v; want %s, %s, %q", a.Denied, a.Open, by, err, tt.denied, tt.open, tt.allows)
			}
		})
	}
	for _, bad := range []string{"", "}", `{"Statement":"x"}`, keyPolicy() + strings.Repeat(" ", 64<<10)} {
		if _, _, err := keyUse().Judge([]byte(bad)); err == nil {
			t.Errorf("%.20q is no error", bad)
		}
	}
}

// A key's policy is whoever's who may write it: none makes a principal more than the actions that were asked for, or fail to end.
func FuzzKeyPolicy(f *testing.F) {
	f.Add([]byte(keyPolicy(`{"Effect":"Allow","Principal":{"AWS":"444455556666"},"NotAction":["kms:*"],"Resource":"*","Condition":{"Null":{"kms:ViaService":"true"}}}`)))
	f.Add([]byte(`{"Statement":{"Effect":"Deny","NotPrincipal":"*","Action":"**?**","Resource":[1,null]}}`))
	f.Fuzz(func(t *testing.T, policy []byte) {
		u := keyUse()
		a, _, err := u.Judge(policy)
		if n := len(a.Denied) + len(a.Open); n > len(u.Actions) || err != nil && n > 0 {
			t.Errorf("%d answers to %d questions, %v", n, len(u.Actions), err)
		}
	})
}

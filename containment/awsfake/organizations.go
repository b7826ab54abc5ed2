package awsfake

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// An Organization is AWS Organizations: a tree of a root, units and accounts, with policies on them.
type Organization struct {
	Management string            // the account that pays, which no policy binds
	Delegates  []string          // other accounts that may look
	Parents    map[string]string // of an account or a unit: a unit, or the root "r-..."
	Policies   []SCP
	// BillingOnly says that not all features are on, so that there are no policies.
	BillingOnly bool
}

// An SCP is a service control policy.
type SCP struct {
	ID, Name, Document string
	On                 []string // the root, units and accounts that it is attached to
}

func organizationsService() *service {
	ops := map[string]operation{"DescribeOrganization": {do: func(r *Request) (any, error) {
		o := r.Cloud.Organization
		if o == nil || r.Account.ID != o.Management && o.Parents[r.Account.ID] == "" && !slices.Contains(o.Delegates, r.Account.ID) {
			return nil, fail("AWSOrganizationsNotInUseException", "Your account is not a member of an organization.")
		}
		features := "ALL"
		if o.BillingOnly {
			features = "CONSOLIDATED_BILLING"
		}
		return map[string]any{"Organization": map[string]string{"Id": "o-example", "MasterAccountId": o.Management, "FeatureSet": features}}, nil
	}}}
	for name, do := range map[string]func(o *Organization, of string) (any, error){
		"ListParents": listParents, "ListPoliciesForTarget": listPolicies, "DescribePolicy": describePolicy,
	} {
		ops[name] = operation{do: func(r *Request) (any, error) {
			o := r.Cloud.Organization
			if o == nil || r.Account.ID != o.Management && !slices.Contains(o.Delegates, r.Account.ID) {
				return nil, &Error{Code: "AccessDeniedException", Message: "You don't have permissions to access this resource.", Status: http.StatusBadRequest}
			}
			var in struct{ ChildId, TargetId, PolicyId string } //nolint:revive,staticcheck // as the API spells them
			if err := json.Unmarshal(r.Body, &in); err != nil {
				return nil, fail("InvalidInputException", "%v", err)
			}
			return do(o, in.ChildId+in.TargetId+in.PolicyId)
		}}
	}
	return &service{prefix: "organizations", proto: targetJSON, ops: ops}
}

func listParents(o *Organization, child string) (any, error) {
	parent := o.Parents[child]
	if parent == "" {
		return nil, fail("ChildNotFoundException", "You provided a child that doesn't exist in this organization.")
	}
	kind := "ORGANIZATIONAL_UNIT"
	if strings.HasPrefix(parent, "r-") {
		kind = "ROOT"
	}
	return map[string]any{"Parents": []map[string]string{{"Id": parent, "Type": kind}}}, nil
}

func listPolicies(o *Organization, target string) (any, error) {
	found := []map[string]string{}
	for _, p := range o.Policies {
		if slices.Contains(p.On, target) {
			found = append(found, map[string]string{"Id": p.ID, "Name": p.Name, "Type": "SERVICE_CONTROL_POLICY"})
		}
	}
	return map[string]any{"Policies": found}, nil
}

func describePolicy(o *Organization, id string) (any, error) {
	for _, p := range o.Policies {
		if p.ID == id {
			return map[string]any{"Policy": map[string]any{"Content": p.Document, "PolicySummary": map[string]string{"Id": p.ID, "Name": p.Name}}}, nil
		}
	}
	return nil, fail("PolicyNotFoundException", "We can't find a policy with the PolicyId that you specified.")
}

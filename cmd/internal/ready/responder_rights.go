package ready

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	containiam "github.com/shotglass-ir/shotglass/containment/iam"
	"github.com/shotglass-ir/shotglass/docs"
)

// responderMay makes a check of whether the responder may do what a policy of docs allows.
func responderMay(id, file, title string, severity Severity, why string) Check {
	return Check{
		ID: id, Title: title, Why: why, Severity: severity, Account: true,
		Fix:     "aws iam put-role-policy --role-name {resource} --policy-name " + strings.TrimSuffix(file, ".json") + " --policy-document file://docs/" + file,
		Actions: []string{"iam:SimulatePrincipalPolicy"},
		Look:    func(ctx context.Context, s *Site) ([]Finding, error) { return s.simulate(ctx, file) },
	}
}

var (
	responderContain = responderMay("responder-contain", "containment-policy.json", "the responder may do what containment needs", High,
		"A missing permission shows when half of a containment is done, and who could grant it is asleep.")
	responderGather = responderMay("responder-gather", "gather-policy.json", "the responder may take what AWS knows of an instance, and snapshots", High,
		"Console output and CloudTrail's events are lost with time, and the disk with the instance: who may not take them at once does not get them.")
	responderFind = responderMay("responder-find", "inventory-policy.json", "the responder may find instances, and what is related to them", Medium,
		"Which hosts are concerned is the first question of a case.")
	responderConnect = responderMay("responder-connect", "ec2-connect-policy.json", "the responder may get into instances through EC2 Instance Connect", Medium,
		"Without a key of its own on the host, a key that is pushed for a minute is the way in.")
	responderKey = responderMay("responder-key", "key-policy.json", "the responder may follow an access key", Medium,
		"A stolen key is followed through all regions within minutes, or its owner's other keys are found when they are used.")
	responderWorkstation = responderMay("responder-workstation", "workstation-policy.json", "the responder may make a workstation for analysis", Low,
		"Where evidence must not leave the account, it is looked at beside it.")
)

// simulate asks IAM whether the responder may do what a policy allows: on an example of each resource, with the conditions of the policy met. All
// checks of an account ask over one line.
func (s *Site) simulate(ctx context.Context, file string) ([]Finding, error) {
	role, none, err := s.responder()
	if role == nil || err != nil {
		return none, err
	}
	needs, err := s.needs(file)
	if err != nil {
		return nil, err
	}
	api, arn := iam.NewFromConfig(s.Config), role.ARN()
	parts := each(ctx, needs, func(ctx context.Context, q containiam.Question) Finding {
		answer, err := over(ctx, s.simulation, func(ctx context.Context) (containiam.Answer, error) { return q.Ask(ctx, api, arn) })
		if awsconfig.Code(err) == "NoSuchEntity" {
			return fail(role.Name, "there is no such role in the account")
		}
		if err != nil {
			return unknown(role.Name, err)
		}
		return judge(role.Name, q, answer)
	})
	return sumUp(role.Name, parts), nil
}

// judge says which of the actions are not allowed, and else of which it is not known.
func judge(role string, q containiam.Question, a containiam.Answer) Finding {
	var open []string
	for _, d := range a.Open {
		open = append(open, d.Action+": "+d.Why)
	}
	switch {
	case len(a.Denied) > 0:
		return fail(role, "%s on %s", strings.Join(a.Denied, ", "), q.Resource)
	case len(open) > 0:
		return Finding{State: Unknown, Resource: role, Cause: Failed, Detail: fmt.Sprintf("on %s: %s", q.Resource, strings.Join(open, ", "))}
	}
	return pass(role, "%d actions", len(q.Actions))
}

// detailed is how many questions a finding answers in words: a role that may nothing fails them all.
const detailed = 10

// sumUp is one finding out of all parts, the worst of them with its details.
func sumUp(role string, parts []Finding) []Finding {
	for _, state := range []State{Fail, Unknown} {
		var details []string
		var first Finding
		for _, f := range parts {
			if f.State == state && !slices.Contains(details, f.Detail) {
				if details = append(details, f.Detail); len(details) == 1 {
					first = f
				}
			}
		}
		if len(details) > 0 {
			if more := len(details) - detailed; more > 0 {
				details = append(details[:detailed], fmt.Sprintf("and of %d more resources and conditions", more))
			}
			first.Detail = strings.Join(details, "; ")
			return []Finding{first}
		}
	}
	return []Finding{pass(role, "IAM's simulation allows it, on examples of what it is done to")}
}

// planning is the statement for what only plan --gather calls: who lacks it can gather all the same.
const planning = "GatherPlan"

// needs are those of a policy of docs, in the site's account and region.
func (s *Site) needs(file string) (list []containiam.Question, err error) {
	data, err := docs.Policies.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var policy struct {
		Statement []struct {
			Sid              string
			Action, Resource any
			Condition        map[string]map[string]any
		}
	}
	if err := json.Unmarshal(data, &policy); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, st := range policy.Statement {
		if st.Sid == planning {
			continue
		}
		actions := strs(st.Action)
		slices.Sort(actions)
		for _, pattern := range strs(st.Resource) {
			q := containiam.Question{Resource: s.example(pattern), Actions: slices.DeleteFunc(slices.Clone(actions), func(a string) bool { return !concerns(a, pattern) })}
			for op, keys := range st.Condition {
				for k, values := range keys {
					q.Context = append(q.Context, s.contextOf(op, k, strs(values)))
				}
			}
			if len(q.Actions) > 0 {
				list = append(list, q)
			}
		}
	}
	return list, nil
}

// concerns reports whether an action can be about a resource: those of IAM are about one kind, which their names have, and a statement may list several.
func concerns(action, pattern string) bool {
	for kind, word := range map[string]string{":user/": "User", ":role/": "Role", ":instance-profile/": "InstanceProfile"} {
		if strings.HasPrefix(action, "iam:") && strings.Contains(pattern, kind) {
			return strings.Contains(action, word) || !strings.Contains(action, "User") && !strings.Contains(action, "Role") && !strings.Contains(action, "InstanceProfile")
		}
	}
	return true
}

// exampleID is what stands for an id that nobody has, of the characters that all ids may have.
const exampleID = "0123456789abcdef0"

// example is a resource that a pattern of ours matches, in the site's account and region.
func (s *Site) example(pattern string) string {
	part := strings.SplitN(pattern, ":", 6)
	if len(part) < 6 {
		return pattern
	}
	for n, value := range []string{"", containment.PartitionOf(s.Region), "", s.Region, s.Account} {
		if part[n] == "*" {
			part[n] = value
		}
	}
	part[5] = strings.ReplaceAll(part[5], "*", exampleID)
	return strings.Join(part, ":")
}

// contextOf is what a request that meets a condition says.
func (s *Site) contextOf(operator, key string, values []string) types.ContextEntry {
	kind := types.ContextKeyTypeEnumString
	switch {
	case strings.HasPrefix(operator, "ForA"):
		kind = types.ContextKeyTypeEnumStringList
	case strings.HasPrefix(operator, "Numeric"):
		kind = types.ContextKeyTypeEnumNumeric
	}
	for i := range values {
		values[i] = s.example(values[i])
	}
	return types.ContextEntry{ContextKeyName: &key, ContextKeyType: kind, ContextKeyValues: values[:1]}
}

// strs is one string of a policy, or a list of them.
func strs(v any) (list []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, x := range v {
			list = append(list, strs(x)...)
		}
	}
	return list
}
